"""A small API server of Kubernetes, with what makes pods of jobs and runs them: as processes of this machine.

    api_double.py CERTIFICATE KEY TOKEN_FILE ADDRESS DIRECTORY

prints the port of the API (HTTPS) and one of its own (HTTP, for the test). Objects, statuses and lists have the form of
Kubernetes 1.30. The test reads `GET /`, says what goes wrong by `POST /faults` and ends pods by `POST /evict`.
"""
import base64, http.server, json, os, signal, ssl, subprocess, sys, threading, time, uuid
from urllib.parse import parse_qs, urlsplit

certificate, key, token_file, address, directory = sys.argv[1:]
lock = threading.RLock()
jobs, pods, secrets, events, processes = {}, {}, {}, [], {}
asked = set()  # verbs and resources
bodies = []  # what was made, as it was sent
started = 0
faults = {
    "away": False,  # connections end without an answer
    "slow": 0,  # seconds before an answer
    "errors": 0,  # so many requests are answered with 500
    "quota": "",  # why no job may be made
    "pod_quota": "",  # why no pod may be made
    "conflicts": 0,  # so many jobs meet another request at the quota's books
    "unschedulable": "",  # why no node takes a pod
    "missing_image": "",  # an image that no registry has
    "part": 0,  # so many things are in one part of a list, at most
    "expired": 0,  # so many times a list is not gone on with
}
LISTS = {"jobs": ("batch/v1", "JobList"), "pods": ("v1", "PodList"), "events": ("v1", "EventList")}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Refused(Exception):
    def __init__(self, code, reason, message):
        self.code = code
        self.status = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        }


def created(body, kind):
    metadata = body["metadata"]
    metadata.update(namespace="farm", uid=str(uuid.uuid4()), resourceVersion="1", creationTimestamp=now())
    if body["kind"] != kind:
        raise Refused(400, "BadRequest", f"the object is no {kind}")
    return body


def create_job(body):
    name = body["metadata"]["name"]
    if faults["quota"]:
        raise Refused(403, "Forbidden", f'jobs.batch "{name}" is forbidden: {faults["quota"]}')
    if faults["conflicts"]:
        faults["conflicts"] -= 1
        raise Refused(409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "jobs": the object has been modified')
    if name in jobs:
        raise Refused(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
    template = body["spec"]["template"]
    if template["spec"]["restartPolicy"] != "Never":
        raise Refused(422, "Invalid", f'Job.batch "{name}" is invalid: spec.template.spec.restartPolicy')
    body = created(body, "Job")
    body["status"] = {}
    jobs[name] = body
    return body


def create_secret(body):
    name = body["metadata"]["name"]
    if name in secrets:
        raise Refused(409, "AlreadyExists", f'secrets "{name}" already exists')
    owner = body["metadata"]["ownerReferences"][0]
    secrets[name] = {"of": owner["uid"], "data": dict(body["stringData"])}
    body = created(body, "Secret")
    text = body.pop("stringData")
    body["data"] = {name: base64.b64encode(value.encode()).decode() for name, value in text.items()}
    return body


def delete_job(name, options):
    if name not in jobs:
        raise Refused(404, "NotFound", f'jobs.batch "{name}" not found')
    uid = jobs[name]["metadata"]["uid"]
    wanted = options.get("preconditions", {}).get("uid", uid)
    if wanted != uid:
        raise Refused(409, "Conflict", f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}")
    if options.get("propagationPolicy") != "Background":
        raise Refused(400, "BadRequest", "pods would stay")
    del jobs[name]
    end(name, signal.SIGTERM)
    pods.pop(name, None)
    for secret in [secret for secret, value in secrets.items() if value["of"] == uid]:
        del secrets[secret]
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": {"name": name, "uid": uid}}


def listed(kind, query):
    things = {"jobs": list(jobs.values()), "pods": list(pods.values()), "events": list(events)}[kind]
    for selected in query.get("labelSelector", []):
        label, value = selected.split("=")
        things = [one for one in things if one["metadata"].get("labels", {}).get(label) == value]
    for selected in query.get("fieldSelector", []):
        fields = dict(field.split("=") for field in selected.split(","))
        name = fields["involvedObject.name"]
        things = [one for one in things if one["involvedObject"]["name"] == name]
    at = 0
    if "continue" in query:
        if faults["expired"]:
            faults["expired"] -= 1
            raise Refused(410, "Expired", "The provided continue parameter is too old to display a consistent list result.")
        at = int(base64.b64decode(query["continue"][0]))
    limit = int(query.get("limit", ["500"])[0])
    if faults["part"]:
        limit = min(limit, faults["part"])
    version, name = LISTS[kind]
    metadata = {"resourceVersion": "7"}
    if at + limit < len(things):
        metadata["continue"] = base64.b64encode(str(at + limit).encode()).decode()
        metadata["remainingItemCount"] = len(things) - at - limit
    return {"kind": name, "apiVersion": version, "metadata": metadata, "items": things[at : at + limit]}


def condition(kind, status, reason, message):
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now()}


def end(name, how):
    """Ends the process of a pod."""
    process = processes.pop(name, None)
    if process and process.poll() is None:
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            pass


def finished(job, pod, phase, **status):
    pod["status"].update(phase=phase, **status)
    if phase == "Succeeded":
        job["status"] = {"succeeded": 1, "conditions": [condition("Complete", "True", "CompletionsReached", "")]}
    else:
        message = "Job has reached the specified backoff limit"
        job["status"] = {"failed": 1, "conditions": [condition("Failed", "True", "BackoffLimitExceeded", message)]}


def variables(name, container, place):
    mounts = []
    for mount in container.get("volumeMounts", []):
        real = os.path.join(place, mount["name"], mount.get("subPath", ""))
        os.makedirs(real, exist_ok=True)
        mounts.append((mount["mountPath"], real.rstrip("/")))
    found = {"PATH": os.environ["PATH"]}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "status.podIP"
            value = address
        elif "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            value = secrets[reference["name"]]["data"][reference["key"]]
        else:
            value = variable["value"]
            for mounted, real in mounts:
                if value == mounted or value.startswith(mounted + "/"):
                    value = real + value[len(mounted) :]
        found[variable["name"]] = value
    return found


def waiting(container, reason, message):
    state = {"waiting": {"reason": reason, "message": message}}
    return [{"name": container["name"], "ready": False, "restartCount": 0, "state": state}]


def start(name, pod):
    """Goes on with a pod that does not run yet, as far as it gets."""
    global started
    status, container = pod["status"], pod["spec"]["containers"][0]
    if faults["unschedulable"]:
        status["conditions"] = [condition("PodScheduled", "False", "Unschedulable", faults["unschedulable"])]
        return
    status["conditions"] = [condition("PodScheduled", "True", "", "")]
    if container["image"] == faults["missing_image"]:
        message = f'Back-off pulling image "{container["image"]}"'
        status["containerStatuses"] = waiting(container, "ImagePullBackOff", message)
        return
    if name not in secrets:
        status["containerStatuses"] = waiting(container, "CreateContainerConfigError", f'secret "{name}" not found')
        return
    place = os.path.join(directory, name)
    environment = variables(name, container, place)
    log = open(os.path.join(place, "log"), "wb")
    processes[name] = subprocess.Popen(
        container["command"], env=environment, cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    started += 1
    status.update(phase="Running", podIP=address)
    state = {"running": {"startedAt": now()}}
    status["containerStatuses"] = [{"name": container["name"], "ready": True, "restartCount": 0, "state": state}]


def control():
    """What the job controller, the scheduler and the kubelet do."""
    while True:
        with lock:
            for name, job in jobs.items():
                if "conditions" in job["status"]:
                    continue
                if name not in pods:
                    if faults["pod_quota"]:
                        if not any(event["involvedObject"]["name"] == name for event in events):
                            events.append({
                                "metadata": {"name": name + ".1"}, "type": "Warning", "reason": "FailedCreate",
                                "involvedObject": {"kind": "Job", "name": name},
                                "message": f'Error creating: pods "{name}-x" is forbidden: {faults["pod_quota"]}',
                            })
                        continue
                    template = json.loads(json.dumps(job["spec"]["template"]))
                    template["metadata"]["name"] = name + "-" + uuid.uuid4().hex[:5]
                    pods[name] = {**template, "status": {"phase": "Pending"}}
                    job["status"] = {"active": 1}
                pod = pods[name]
                if pod["status"]["phase"] == "Pending":
                    start(name, pod)
                process = processes.get(name)
                code = process and process.poll()
                if code is not None:
                    del processes[name]
                    code = 128 - code if code < 0 else code
                    state = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}}
                    container = pod["spec"]["containers"][0]["name"]
                    of_container = [{"name": container, "ready": False, "restartCount": 0, "state": state}]
                    finished(job, pod, "Failed" if code else "Succeeded", containerStatuses=of_container)
        time.sleep(0.05)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")

    def answer(self, code, body):
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Api(Handler):
    def serve(self):
        body = self.body()
        if faults["away"]:
            self.close_connection = True
            return
        time.sleep(faults["slow"])
        try:
            with lock:
                code, answer = self.done(body)
        except Refused as refused:
            code, answer = refused.code, refused.status
        self.answer(code, answer)

    def done(self, body):
        if faults["errors"]:
            faults["errors"] -= 1
            raise Refused(500, "InternalError", "etcdserver: request timed out")
        with open(token_file) as file:
            if self.headers.get("authorization") != "Bearer " + file.read().strip():
                raise Refused(401, "Unauthorized", "Unauthorized")
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        root = 3 if parts[0] == "apis" else 2
        group = "/".join(parts[:root])
        namespaces, namespace, kind, *name = parts[root:]
        known = {"jobs": "apis/batch/v1", "pods": "api/v1", "secrets": "api/v1", "events": "api/v1"}
        if namespaces != "namespaces" or known.get(kind) != group:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        verb = {"GET": "get" if name else "list", "POST": "create", "DELETE": "delete"}[self.command]
        asked.add(f"{verb} {kind}")
        if namespace != "farm" or f"{verb} {kind}" not in ALLOWED:
            raise Refused(403, "Forbidden", f'{kind} is forbidden: User "master" cannot {verb} resource "{kind}"')
        if verb == "list":
            return 200, listed(kind, parse_qs(url.query))
        if verb == "delete":
            return 200, delete_job(name[0], body)
        bodies.append(json.loads(json.dumps(body)))
        return 201, create_job(body) if kind == "jobs" else create_secret(body)

    do_GET = do_POST = do_DELETE = serve


# What conf/kubernetes allows the master.
ALLOWED = {"create jobs", "list jobs", "delete jobs", "list pods", "create secrets", "list events"}


class Test(Handler):
    def do_GET(self):
        with lock:
            shown = {"jobs": sorted(name for name, job in jobs.items() if "conditions" not in job["status"])}
            shown.update(all=sorted(jobs), secrets=sorted(secrets), asked=sorted(asked), started=started, bodies=bodies)
            self.answer(200, shown)

    def do_POST(self):
        body = self.body()
        with lock:
            if self.path == "/faults":
                assert body.keys() <= faults.keys(), body
                faults.update(body)
            else:
                for name in list(processes):
                    end(name, signal.SIGKILL)
                    message = "The node was low on resource: memory."
                    finished(jobs[name], pods[name], "Failed", reason="Evicted", message=message)
        self.answer(200, {})


servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in (Api, Test)]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
servers[0].socket = context.wrap_socket(servers[0].socket, server_side=True, do_handshake_on_connect=False)
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Thread(target=control, daemon=True).start()
print(*(server.server_port for server in servers), flush=True)
sys.stdin.read()  # Until the test is over.
with lock:
    for name in list(processes):
        end(name, signal.SIGKILL)
