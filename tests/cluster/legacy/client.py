"""The calls of the original's client, as it makes them.

Usage: client.py MASTER SECRET build PARAMS   prints the result and the names in artifacts.zip
       client.py MASTER SECRET shutdown [ID ...]   all slaves, or those; ids go as the strings that they are here
"""
import hashlib
import hmac
import http.client
import io
import json
import sys
import time
import zipfile

MASTER, SECRET, COMMAND = sys.argv[1:4]


def call(method, path, value=None):
    connection = http.client.HTTPConnection(MASTER, timeout=30)
    headers, body = {}, None
    if value is not None:
        body = json.dumps(value).encode()
        made = hmac.new(SECRET.encode(), body, hashlib.sha512)
        headers['Clusterrunner-Message-Authentication-Digest'] = made.hexdigest()
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text


def build(params):
    status, text = call('POST', '/v1/build', params)
    if status >= 400:
        sys.exit('refused: %s %s' % (status, text))
    path = '/v1/build/%s' % json.loads(text)['build_id']
    while True:
        found = json.loads(call('GET', path)[1])['build']
        if found['status'] == 'FINISHED':
            break
        if found['status'] in ('ERROR', 'CANCELED'):
            sys.exit('%s: %s' % (found['status'], found['error_message']))
        time.sleep(0.05)
    status, archive = call('GET', path + '/artifacts.zip')
    while status != 200:
        time.sleep(0.05)
        status, archive = call('GET', path + '/artifacts.zip')
    names = sorted(zipfile.ZipFile(io.BytesIO(archive)).namelist())
    print(json.dumps({'result': found['result'], 'names': names}))


if COMMAND == 'build':
    build(json.loads(sys.argv[4]))
else:
    slaves = sys.argv[4:]
    which = {'slaves': slaves} if slaves else {'shutdown_all': True}
    status, text = call('POST', '/v1/slave/shutdown', which)
    if status != 200:
        sys.exit('refused: %s %s' % (status, text))
