"""What the original's master answers to its client: build 1 has passed, build 2 runs for ever.

Usage: original.py HOST PORT SECRET   prints each order that it has taken
"""
import hashlib
import hmac
import http.server
import io
import json
import sys
import tarfile

HOST, PORT, SECRET = sys.argv[1:4]
HEADER = 'Clusterrunner-Message-Authentication-Digest'
BUILD = {
    'id': 1, 'status': 'FINISHED', 'details': '1 of 1 subjobs are complete (100.0%).', 'error_message': None,
    'num_atoms': 1, 'num_subjobs': 1, 'failed_atoms': [], 'result': 'NO_FAILURES', 'request_params': {},
    'state_timestamps': {'queued': 1.5, 'finished': 2.5},
}


def archive():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w:gz') as made:
        for name, content in [('.', None), ('./artifact_0_0', None), ('./artifact_0_0/clusterrunner_exit_code', b'0\n')]:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b'')
            made.addfile(member, io.BytesIO(content or b''))
    return file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server_version, sys_version = 'TornadoServer/3.2.2', ''

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind='application/json; charset=UTF-8'):
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Session-Id', '0c0e9a4e-6a3b-4b57-8f0b-7f3e6f0f6d55')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def tell(self, status, value):
        self.answer(status, json.dumps(value).encode())

    def do_GET(self):
        if self.path.endswith('artifacts.tar.gz'):
            self.answer(200, archive(), 'application/x-gzip')
        elif self.path == '/v1/build/1':
            self.tell(200, {'build': BUILD, 'child_routes': {}})
        elif self.path == '/v1/build/2':
            running = {'id': 2, 'status': 'BUILDING', 'result': None, 'failed_atoms': None}
            self.tell(200, {'build': {**BUILD, **running}, 'child_routes': {}})
        elif self.path == '/v1/slave':
            self.tell(200, {'slaves': [], 'child_routes': {}})
        elif self.path == '/v1/version':
            self.tell(200, {'version': '0.5.599', 'api_version': 1, 'child_routes': {}})
        else:
            self.tell(200, {'child_routes': {}})

    def order(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        digest = hmac.new(SECRET.encode(), body, hashlib.sha512).hexdigest()
        if not hmac.compare_digest(digest, self.headers.get(HEADER, '')):
            error = 'Message digest does not match header, message not authenticated.'
            self.tell(401, {'error': error})
            return
        print(self.command, self.path, json.dumps(json.loads(body)), flush=True)
        if self.path == '/v1/slave/shutdown':
            self.answer(200, b'')
        elif self.command == 'PUT':
            self.tell(200, {'status': 'SUCCESS'})
        else:
            self.tell(202, {'status': 'SUCCESS', 'build_id': 1})

    do_POST = do_PUT = order


server = http.server.ThreadingHTTPServer((HOST, int(PORT)), Handler)
print('listening', flush=True)
server.serve_forever()
