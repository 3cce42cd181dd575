#!/usr/bin/env python3
"""What a build of a working tree sends of a real repository, and how long it takes from Enter to the prompt.

    cargo build -p clusterrunner-client && python3 tests/measure/working_tree.py REPOSITORY [PROGRAM]

Works on clones of REPOSITORY in a temporary directory. Everything runs on loopback, with one slave; each build has one atom
that does nothing. The farm sees the clones, but `--send` has it take them for files of another machine.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

REPOSITORY = os.path.abspath(sys.argv[1])
PROGRAM = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else "target/debug/clusterrunner")
MASTER, SLAVE = 43910, 43911
JOB = '{"commands": ["true"], "atomizers": [{"N": "echo 1"}]}'


def git(directory, *arguments):
    return subprocess.run(["git", *arguments], cwd=directory, check=True, capture_output=True, text=True).stdout


def get(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{MASTER}{path}") as answer:
        return answer.read()


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

        def build(what, clone):
            command = [PROGRAM, "build", "--send", "--master-url", f"127.0.0.1:{MASTER}"]
            command += [str(clone), "--config", JOB, "--no-results"]
            began = time.monotonic()
            built = subprocess.run(command, env=environment, cwd=clone, check=True, capture_output=True, text=True)
            took = time.monotonic() - began
            said = (built.stdout + built.stderr).splitlines()
            sent = next(line for line in said if line.startswith(("Sending", "Nothing", "The farm")))
            print(f"{what:34} {took:6.2f} s  {sent}", flush=True)

        def change(clone, number):
            largest = max(git(clone, "ls-files", "*.rs").split(), key=lambda path: (clone / path).stat().st_size)
            with open(clone / largest, "a") as file:
                file.write(f"// line {number}\n")

        try:
            start("master")
            until(lambda: get("/v1"))
            start("slave", "--port", str(SLAVE), "--num-executors", "1")
            until(lambda: b'"is_alive":true' in get("/v1/slave").replace(b" ", b""))
            clone = base / "clone"
            git(base, "clone", "-q", REPOSITORY, str(clone))
            build("first, nothing differs", clone)
            change(clone, 1)
            build("one line", clone)
            change(clone, 2)
            build("one more line", clone)
            build("the same", clone)
            git(clone, "remote", "remove", "origin")
            build("without a remote", clone)
            change(clone, 3)
            build("without a remote, one more line", clone)
            build("without a remote, the same", clone)
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait()


# So that whoever ends it leaves nothing behind.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
main()
