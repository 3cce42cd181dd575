#!/usr/bin/env python3
"""How long a set-up takes that installs wheels, and how long where an earlier one was kept.

    cargo build --workspace && python3 tests/measure/setup_cache.py WHEELS [PROGRAM] [ROUNDS]

WHEELS is a directory with the wheels of pytest, requests, django, sqlalchemy and numpy, as `pip download` leaves them:
nothing is fetched. Everything runs on loopback, with one slave. Of each job two builds run one after the other, the first
with no entry; between rounds the entries are removed.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

WHEELS = os.path.abspath(sys.argv[1])
PROGRAM = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else "target/debug/clusterrunner")
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
MASTER, SLAVE = 43900, 43901
PACKAGES = ["pytest", "requests", "django", "sqlalchemy", "numpy"]

SET_UP = f"""  setup_build:
    - python3 -m venv .venv
    - .venv/bin/pip install -q --no-index --find-links {WHEELS} -r requirements.txt
  commands: [.venv/bin/pytest -q test_all.py]
  atomizers: [{{N: echo 1}}]
"""
JOBS = {
    "no cache": "Plain:\n" + SET_UP,
    "cache": "Kept:\n" + SET_UP + "  cache: {paths: [.venv], key: [requirements.txt]}\n",
    "cache, setup_once": "Once:\n"
    + SET_UP
    + "  env: {ONCE: 'yes'}\n  setup_once: true\n  cache: {paths: [.venv], key: [requirements.txt]}\n",
}


def git(source, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=source, check=True, capture_output=True)


def make_repository(source):
    source.mkdir()
    (source / "clusterrunner.yaml").write_text("".join(JOBS.values()))
    (source / "requirements.txt").write_text("\n".join(PACKAGES) + "\n")
    (source / "test_all.py").write_text(f"def test_all():\n    import {', '.join(PACKAGES)}\n")
    git(source, "init", "-q", "-b", "main")
    git(source, "add", "-A")
    git(source, "commit", "-qm", "all")


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


def main():
    with tempfile.TemporaryDirectory() as name:
        base = pathlib.Path(name)
        make_repository(base / "repository")
        settings = base / "clusterrunner.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            "[general]\nsecret = 'only for measuring'\nbind_address = 127.0.0.1\n"
            f"[master]\nport = {MASTER}\nssh_port = OFF\n"
            f"[slave]\nmaster_hostname = 127.0.0.1\nmaster_port = {MASTER}\ncontainer_runtime = none\n"
        )
        environment = {"PATH": os.environ["PATH"], "HOME": name, "CLUSTERRUNNER_BASE_DIRECTORY": name}
        running = []

        def start(*arguments):
            quiet = subprocess.DEVNULL
            running.append(subprocess.Popen([PROGRAM, *arguments], env=environment, stdout=quiet, stderr=quiet))

        def set_up(job):
            source = ["git", "--url", str(base / "repository"), "--branch", "main", "--job-name", job]
            command = [PROGRAM, "build", "--master-url", f"127.0.0.1:{MASTER}", *source]
            subprocess.run(command, env=environment, cwd=base, check=True, capture_output=True)
            build = get("/v1/build")["builds"][-1]["id"]
            steps = get(f"/v2/builds/{build}/steps")["steps"]
            return next(step["ended_at"] - step["began_at"] for step in steps if step["kind"] == "setup")

        try:
            start("master")
            until(lambda: get("/v1"))
            start("slave", "--port", str(SLAVE), "--num-executors", "1")
            until(lambda: any(slave["is_alive"] for slave in get("/v1/slave")["slaves"]))
            for round_ in range(ROUNDS):
                for what, job in JOBS.items():
                    name = job.split(":", 1)[0]
                    first, second = set_up(name), set_up(name)
                    ratio = second / first
                    print(f"{round_} {what:20} first {first:.1f} s, second {second:.1f} s, x {ratio:.2f}", flush=True)
                entries = base / f"slave-{SLAVE}/setup-cache"
                if entries.is_dir():
                    shutil.rmtree(entries)
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait()


# So that whoever ends it leaves nothing behind.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
main()
