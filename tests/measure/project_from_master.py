#!/usr/bin/env python3
"""How long slaves take to get a project of some 20 MB: from the master, and for themselves.

    cargo build --workspace && python3 tests/measure/project_from_master.py [PROGRAM] [ROUNDS]

Everything runs on loopback. The time of a build is that from its being prepared to its end: set-up of one
slave, one atom that does nothing, archives. Needs git, which also serves the repository (git daemon).
"""

import base64
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

PROGRAM = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/debug/clusterrunner")
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
MASTER, FIRST_SLAVE, SECOND_SLAVE, GIT = 43900, 43901, 43902, 43990
JOB = "J:\n  commands: [\"true\"]\n  atomizers: [{N: echo 1}]\n"


def git(source, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=source, check=True, capture_output=True, text=True)
    return done.stdout


def commit(source):
    git(source, "add", "-A")
    git(source, "commit", "-qm", "change")


def make_repository(source):
    source.mkdir(parents=True)
    git(source, "init", "-q", "-b", "master")
    (source / "clusterrunner.yaml").write_text(JOB)
    chance = random.Random(1)
    for _ in range(60):
        for _ in range(60):
            folder = source / f"d{chance.randrange(40)}"
            folder.mkdir(exist_ok=True)
            content = base64.b64encode(chance.randbytes(chance.randrange(500, 11000)))
            (folder / f"f{chance.randrange(60)}").write_bytes(content)
        commit(source)
    git(source, "repack", "-adq")


def get(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{MASTER}{path}") as answer:
        return json.load(answer)


def until(condition):
    for _ in range(3000):
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit("the farm does not get there")


def measure(directory, source, from_master):
    base = directory / f"base-{time.monotonic_ns()}"
    base.mkdir()
    settings = base / "clusterrunner.conf"
    settings.touch(mode=0o600)
    settings.write_text(
        "[general]\nsecret = 'only for measuring'\nbind_address = 127.0.0.1\n"
        f"[master]\nport = {MASTER}\nget_project_from_master = {from_master}\n"
        f"[slave]\nmaster_hostname = 127.0.0.1\nmaster_port = {MASTER}\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(base), "CLUSTERRUNNER_BASE_DIRECTORY": str(base)}
    running = []

    def start(*arguments):
        quiet = subprocess.DEVNULL
        running.append(subprocess.Popen([PROGRAM, *arguments], env=environment, stdout=quiet, stderr=quiet))

    def start_slave(port):
        start("slave", "--port", str(port), "--num-executors", "1")
        until(lambda: any(s["is_alive"] and s["url"].endswith(str(port)) for s in get("/v1/slave")["slaves"]))

    def build():
        url = f"git://127.0.0.1:{GIT}/repository"
        command = [PROGRAM, "build", "--master-url", f"127.0.0.1:{MASTER}", "git", "--url", url, "--job-name", "J"]
        subprocess.run(command, env=environment, cwd=base, check=True, capture_output=True)
        times = get("/v1/build")["builds"][-1]["state_timestamps"]
        return round(times["finished"] - times["prepared"], 2)

    try:
        start("master")
        until(lambda: get("/v1"))
        start_slave(FIRST_SLAVE)
        fresh = build()
        (source / "new").write_text(str(time.time()))
        commit(source)
        again = build()
        running.pop().terminate()
        start_slave(SECOND_SLAVE)
        return fresh, again, build()
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def main():
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        source = directory / "served/repository"
        make_repository(source)
        print(git(source, "count-objects", "-vH"))
        serve = ["daemon", "--listen=127.0.0.1", f"--port={GIT}", "--export-all", "--reuseaddr"]
        daemon = subprocess.Popen(
            ["git", *serve, f"--base-path={directory}/served"], process_group=0, stderr=subprocess.DEVNULL
        )
        try:
            print("get_project_from_master: fresh slave, one more commit, another fresh slave (s)")
            for _ in range(ROUNDS):
                for from_master in (True, False):
                    print(f"{from_master}: {measure(directory, source, from_master)}", flush=True)
        finally:
            os.killpg(daemon.pid, 15)
            daemon.wait()


# So that whoever ends it leaves nothing behind.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
main()
