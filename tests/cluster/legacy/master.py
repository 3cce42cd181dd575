"""A master that behaves on the wire as that of the original ClusterRunner does, and drives one slave
through builds. Prints the exit codes that it got as JSON; ends with 1 when the slave does wrong.

Usage: master.py ADDRESS SECRET BUILDS, where BUILDS is JSON: a list of {"params": {...}, "command":
text, "atoms": [text]}. Without any it only takes the slave in.
"""
import email
import hashlib
import hmac
import http.client
import http.server
import io
import json
import os
import sys
import tarfile
import threading
import urllib.parse

ADDRESS, SECRET, BUILDS = sys.argv[1:4]
DIGEST = 'Clusterrunner-Message-Authentication-Digest'
SESSION = 'session-of-the-master'

changed = threading.Condition()
slave = {}
words = []
results = {}
in_use = {'executors': 0}


def fail(text):
    print('wrong: ' + text, flush=True)
    os._exit(1)


def digest(body):
    return hmac.new(SECRET.encode(), body, hashlib.sha512).hexdigest()


class Master(http.server.BaseHTTPRequestHandler):
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

    def body(self, needs_digest):
        if 'Content-Length' not in self.headers:
            fail('no Content-Length: ' + self.path)
        body = self.rfile.read(int(self.headers['Content-Length']))
        given = self.headers.get(DIGEST, '')
        # Not all of the original's own slaves say it; ours does, so as not to be taken for another.
        if needs_digest and self.headers.get('Expected-Session-Id') != SESSION:
            fail('no session: ' + self.path)
        if needs_digest and not hmac.compare_digest(digest(body), given):
            fail('no digest: ' + self.path)
        return body

    def do_GET(self):
        self.answer(200, {'master': {'status': 'Master service is up.', 'slaves': []}})

    def do_PUT(self):
        value = json.loads(self.body(True))
        word = value['slave']['state']
        if value != {'slave': {'state': word}}:
            fail('unknown fields in %s' % value)
        with changed:
            if word == 'IDLE' and in_use['executors']:
                fail('IDLE while executors are in use')
            words.append(word)
            changed.notify_all()
        self.answer(200, {'status': 'SUCCESS', 'slave': {'id': 1}})

    def do_POST(self):
        path = [part for part in self.path.split('/') if part][1:]
        if path == ['slave']:
            value = json.loads(self.body(False))
            with changed:
                slave.update(value)
                changed.notify_all()
            return self.answer(201, {'status': 'SUCCESS', 'slave_id': '1'})
        if path[-1] == 'heartbeat':
            self.body(True)
            return self.answer(200, {'is_alive': True})
        return self.result(int(path[1]), int(path[3]), self.body(False))

    def result(self, build, subjob, body):
        head = b'Content-Type: ' + self.headers['Content-Type'].encode() + b'\r\n\r\n'
        parts = email.message_from_bytes(head + body).get_payload()
        about = json.loads(parts[0].get_payload())
        if set(about) - {'slave', 'metric_data'} or about['slave'] != slave['slave']:
            fail('the result says %s' % about)
        if not parts[1].get_filename():
            fail('no file name')
        codes = {}
        with tarfile.open(fileobj=io.BytesIO(parts[1].get_payload(decode=True)), mode='r:gz') as tar:
            for member in tar.getmembers():
                if member.name.endswith('/clusterrunner_exit_code'):
                    codes[member.name.split('/')[0]] = int(tar.extractfile(member).read())
        with changed:
            if (build, subjob) in results:
                fail('two results of subjob %d of build %d' % (subjob, build))
            results[(build, subjob)] = codes
            in_use['executors'] -= 1
            changed.notify_all()
        self.answer(200, {'status': 'SUCCESS'})


def call(method, path, value=None, signed=True, refused=False):
    body = b'' if value is None else json.dumps(value).encode()
    connection = http.client.HTTPConnection(slave['slave'].split('://')[-1], timeout=30)
    headers = {'Expected-Session-Id': slave['session_id']}
    if signed:
        headers[DIGEST] = digest(body)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if (answer.status >= 400) != refused:
        fail('%s was answered: %s %s' % (path, answer.status, text))
    return json.loads(text)


def wait_for(condition):
    with changed:
        if not changed.wait_for(condition, timeout=90):
            fail('waited in vain; words: %s, results: %s' % (words, sorted(results)))


def drive(build, about):
    if call('GET', '/v1', signed=False)['slave']['is_alive'] is not True:
        fail('the slave is not alive')
    call('POST', '/v1/build/%d/setup' % build,
         {'project_type_params': about['params'], 'build_executor_start_index': 0})
    wait_for(lambda: words)
    word = words.pop()
    if word == 'SETUP_COMPLETE':
        call('POST', '/v1/build/999/teardown', signed=False, refused=True)
        for subjob, atom in enumerate(about['atoms']):
            wait_for(lambda: in_use['executors'] < int(slave['num_executors']))
            with changed:
                in_use['executors'] += 1
            answer = call('POST', '/v1/build/%d/subjob/%d' % (build, subjob),
                          {'atomic_commands': [atom + ' ' + about['command']]})
            if not isinstance(answer, dict):
                fail('no object')
        wait_for(lambda: in_use['executors'] == 0)
    call('POST', '/v1/build/%d/teardown' % build, signed=False)
    wait_for(lambda: words)
    if words.pop() != 'IDLE':
        fail('not IDLE')
    codes = {}
    for (of_build, _), found in results.items():
        if of_build == build:
            codes.update(found)
    return {'set_up': word, 'codes': codes}


def main():
    host, port = ADDRESS.rsplit(':', 1)
    http.server.ThreadingHTTPServer.daemon_threads = True
    server = http.server.ThreadingHTTPServer((host, int(port)), Master)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wait_for(lambda: slave)
    if not json.loads(BUILDS):
        # Without anything to do it waits for its own end.
        threading.Event().wait()
    done = [drive(build, about) for build, about in enumerate(json.loads(BUILDS), 1)]
    call('POST', '/v1/kill', {})
    wait_for(lambda: 'DISCONNECTED' in words)
    print(json.dumps(done), flush=True)


main()
