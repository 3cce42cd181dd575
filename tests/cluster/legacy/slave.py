"""A slave that behaves on the wire as that of the original ClusterRunner does: strict where it is
strict, fragile where it is fragile. What its master does wrong it writes into the file `wrong`.

Usage: slave.py OWN_ADDRESS MASTER SECRET EXECUTORS DIRECTORY
"""
import hashlib
import hmac
import http.client
import http.server
import io
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.parse
import uuid

OWN, MASTER, SECRET, EXECUTORS, DIRECTORY = sys.argv[1:6]
EXECUTORS = int(EXECUTORS)
SESSION = str(uuid.uuid4())
DIGEST = 'Clusterrunner-Message-Authentication-Digest'
GIT = {'type', 'url', 'project_directory', 'remote', 'branch', 'config', 'job_name', 'remote_files',
       'atoms_override', 'build_project_directory'}
IN_PLACE = {'type', 'project_directory', 'config', 'job_name', 'remote_files',
            'build_project_directory'}

idle = queue.Queue()
server_lock = threading.Lock()
running = set()
running_lock = threading.Lock()
subjobs = []
state = {'build': None, 'project': None, 'job': {}, 'start': 0, 'id': None, 'alive': True}


def wrong(text):
    with open(os.path.join(DIRECTORY, 'wrong'), 'a') as file:
        file.write(text + '\n')


def digest(body):
    return hmac.new(SECRET.encode(), body, hashlib.sha512).hexdigest()


def call(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(MASTER, timeout=120)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def again_and_again(pauses, *arguments):
    """Connection errors are retried, whatever the method; statuses never."""
    for pause in pauses:
        try:
            return call(*arguments)
        except OSError:
            time.sleep(pause)
    return call(*arguments)


def signed(method, path, value):
    body = json.dumps(value).encode()
    pauses = (1, 2, 4, 8, 16) if method == 'POST' else (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
    return again_and_again(pauses, method, path, body, {DIGEST: digest(body)})


def leave(code):
    """The normal end: says good-bye, ends the atoms, which report what becomes of them."""
    if state['alive']:
        state['alive'] = False
        try:
            call('GET', '/v1')
            signed('PUT', '/v1/slave/%s' % state['id'], {'slave': {'state': 'DISCONNECTED'}})
        except OSError:
            pass
        end_atoms()
        for thread in subjobs:
            thread.join(timeout=10)
    os._exit(code)


def report(word):
    status, answer = signed('PUT', '/v1/slave/%s' % state['id'], {'slave': {'state': word}})
    if status >= 400:
        wrong('%s was refused: %s %s' % (word, status, answer))
        os._exit(1)


def end_atoms():
    with running_lock:
        for process in running:
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass


def shell(command, directory, exports, output):
    text = ''.join('export %s="%s";' % pair for pair in exports)
    process = subprocess.Popen(['/bin/bash', '-c', 'set -o pipefail; ' + text + command],
                               cwd=directory, stdout=output, stderr=subprocess.STDOUT,
                               start_new_session=True)
    with running_lock:
        running.add(process)
    try:
        if not state['alive']:
            process.kill()
        return process.wait()
    finally:
        with running_lock:
            running.discard(process)


def git(*arguments, cwd=None):
    subprocess.run(('git',) + arguments, cwd=cwd, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def fetch(params):
    if params['type'] == 'directory':
        return params['project_directory']
    repository = os.path.join(DIRECTORY, 'repository')
    if not os.path.isdir(repository):
        git('clone', '--depth=1', 'file://' + params['url'], repository)
    git('fetch', '--depth=1', '--update-head-ok', params.get('remote', 'origin'),
        params.get('branch', 'master'), cwd=repository)
    git('reset', '--hard', 'FETCH_HEAD', '--', cwd=repository)
    git('clean', '-dfx', cwd=repository)
    return params['build_project_directory']


def set_up(params):
    try:
        state['project'] = fetch(params)
        job = params.get('config')
        if job is None:
            # The job files of these tests are JSON, which is YAML.
            with open(os.path.join(state['project'], 'clusterrunner.yaml')) as file:
                jobs = json.load(file)
            job = jobs[params['job_name']] if 'job_name' in params else next(iter(jobs.values()))
        state['job'] = job
    except Exception as error:
        wrong('the set-up broke off: %r' % error)
        leave(1)
    exports = [('PROJECT_DIR', state['project'])]
    command = ' && '.join(job.get('setup_build', ['true']))
    code = shell(command, state['project'], exports, subprocess.DEVNULL)
    report('SETUP_COMPLETE' if code == 0 else 'SETUP_FAILED')


def run(build, subjob, executor, commands):
    work = os.path.join(DIRECTORY, 'artifacts', str(build))
    names = []
    for atom, command in enumerate(commands):
        name = 'artifact_%d_%d' % (subjob, atom)
        names.append(name)
        artifacts = os.path.join(work, name)
        shutil.rmtree(artifacts, ignore_errors=True)
        os.makedirs(artifacts)
        exports = [('PROJECT_DIR', state['project']), ('ARTIFACT_DIR', artifacts), ('ATOM_ID', atom),
                   ('EXECUTOR_INDEX', executor), ('MACHINE_EXECUTOR_INDEX', executor),
                   ('BUILD_EXECUTOR_INDEX', state['start'] + executor)]
        began = time.time()
        with open(os.path.join(artifacts, 'clusterrunner_console_output'), 'wb') as output:
            code = shell(command, state['project'], exports, output)
        for file_name, text in (('command', command), ('exit_code', code),
                                ('time', '%.2f' % (time.time() - began))):
            with open(os.path.join(artifacts, 'clusterrunner_' + file_name), 'w') as file:
                file.write('%s\n' % text)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w:gz') as archive:
        for name in names:
            archive.add(os.path.join(work, name), name)
    # The executor is free before its result has arrived.
    idle.put(executor)
    upload(build, subjob, executor, packed.getvalue())


def upload(build, subjob, executor, packed):
    boundary = uuid.uuid4().hex
    about = json.dumps({'slave': OWN, 'metric_data': {'executor_id': executor}})
    body = ('--%s\r\nContent-Disposition: form-data; name="__encoded_body__"\r\n\r\n%s\r\n'
            '--%s\r\nContent-Disposition: form-data; name="file"; filename="payload"\r\n'
            'Content-Type: application/x-compressed\r\n\r\n' % (boundary, about, boundary)).encode()
    body += packed + ('\r\n--%s--\r\n' % boundary).encode()
    headers = {'Content-Type': 'multipart/form-data; boundary=' + boundary}
    path = '/v1/build/%d/subjob/%d/result' % (build, subjob)
    for attempt in range(1, 6):
        try:
            status, answer = call('POST', path, body, headers)
        except OSError as error:
            status, answer = None, error
        if status == 200:
            # Sometimes an answer gets lost, and then it comes twice.
            if subjob % 7 == 3 and call('POST', path, body, headers)[0] != 200:
                wrong('a repeated result was refused')
            return
        if status is not None:
            wrong('a result was answered %s: %s' % (status, answer))
        time.sleep(attempt)


def tear_down(build):
    end_atoms()
    if 'teardown_build' in state['job']:
        command = ' && '.join(state['job']['teardown_build'])
        shell(command, state['project'], [('PROJECT_DIR', state['project'])], subprocess.DEVNULL)
    state['build'] = None
    while idle.qsize() < EXECUTORS:
        time.sleep(0.02)
    try:
        call('GET', '/v1')
    except OSError:
        return
    report('IDLE')


class Slave(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *arguments):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json; charset=UTF-8')
        self.send_header('Session-Id', SESSION)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def expected(self):
        expected = self.headers.get('Session-Id') or self.headers.get('Expected-Session-Id')
        if expected and expected != SESSION:
            self.answer(412, {'error': 'Specified session id: %s has expired.' % expected})
            return False
        return True

    def do_GET(self):
        with server_lock:
            if self.expected():
                self.answer(200, {'slave': {'is_alive': state['alive'], 'session_id': SESSION,
                                            'current_build_id': state['build']}})

    def do_POST(self):
        # One thread serves all calls there, so whatever blocks, blocks everything.
        with server_lock:
            body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
            if self.expected():
                self.post([part for part in self.path.split('/') if part][1:], body)

    def post(self, path, body):
        needs_digest = path[-1] != 'teardown'
        if needs_digest and not hmac.compare_digest(digest(body), self.headers.get(DIGEST, '')):
            wrong('no digest: ' + self.path)
            return self.answer(401, {'error': 'Message digest does not match header.'})
        if not needs_digest and (body or DIGEST in self.headers):
            wrong('more than there should be: ' + self.path)
        value = json.loads(body or b'{}')
        if path == ['kill']:
            self.answer(200, {'status': 'SUCCESS'})
            threading.Thread(target=leave, args=(0,)).start()
            return None
        build = int(path[1])
        if path[2:] == ['setup']:
            return self.set_up(build, value)
        if path[2:] == ['teardown']:
            if state['build'] != build:
                wrong('teardown of %d during %s' % (build, state['build']))
                return self.answer(400, {'error': 'Tried to teardown a build but no build is active'})
            threading.Thread(target=tear_down, args=(build,)).start()
            return self.answer(200, {'status': 'SUCCESS'})
        return self.start(build, int(path[3]), value)

    def set_up(self, build, value):
        params = value['project_type_params']
        if state['build'] is not None:
            wrong('set-up of %d before the teardown of %d' % (build, state['build']))
        if set(value) != {'project_type_params', 'build_executor_start_index'}:
            wrong('the set-up has the fields %s' % sorted(value))
        unknown = set(params) - (GIT if params['type'] == 'git' else IN_PLACE)
        if unknown:
            wrong('unknown parameters: %s' % sorted(unknown))
            return self.answer(500, {'error': 'unexpected keyword argument'})
        state['build'] = build
        state['start'] = value['build_executor_start_index']
        if params['type'] == 'git':
            link = params['build_project_directory']
            os.makedirs(os.path.dirname(link), exist_ok=True)
            if os.path.islink(link):
                os.unlink(link)
            inside = params.get('project_directory', '')
            os.symlink(os.path.join(DIRECTORY, 'repository', inside), link)
        if idle.qsize() < EXECUTORS:
            wrong('set-up while executors are busy')
            return self.answer(500, {'error': 'not all executors are idle'})
        threading.Thread(target=set_up, args=(params,)).start()
        return self.answer(200, {'status': 'SUCCESS'})

    def start(self, build, subjob, value):
        if set(value) != {'atomic_commands'}:
            wrong('the subjob has the fields %s' % sorted(value))
        if build != state['build']:
            wrong('subjob of %d during %s' % (build, state['build']))
            return self.answer(400, {'error': 'Attempted to start subjob for another build'})
        if idle.empty():
            wrong('more subjobs than executors')
        executor = idle.get()
        thread = threading.Thread(target=run,
                                  args=(build, subjob, executor, value['atomic_commands']))
        subjobs.append(thread)
        thread.start()
        return self.answer(201, {'status': 'SUCCESS', 'executor_id': executor})


def main():
    os.makedirs(DIRECTORY, exist_ok=True)
    for executor in range(EXECUTORS):
        idle.put(executor)
    host, port = OWN.rsplit(':', 1)
    http.server.ThreadingHTTPServer.daemon_threads = True
    server = http.server.ThreadingHTTPServer((host, int(port)), Slave)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: leave(0))
    body = json.dumps({'slave': OWN, 'num_executors': EXECUTORS, 'session_id': SESSION})
    form = urllib.parse.urlencode({'__encoded_body__': body})
    status, answer = again_and_again((1, 2, 4, 8, 16), 'POST', '/v1/slave', form.encode(),
                                     {'Content-Type': 'application/x-www-form-urlencoded'})
    if b'slave_id' not in answer:
        print('connect was refused: %s %s' % (status, answer.decode()), flush=True)
        sys.exit(3)
    state['id'] = json.loads(answer)['slave_id']
    while True:
        status, answer = signed('POST', '/v1/slave/%s/heartbeat' % state['id'],
                                {'slave': {'heartbeat': True}})
        if status >= 400 or json.loads(answer)['is_alive'] is not True:
            leave(0)
        time.sleep(1)


main()
