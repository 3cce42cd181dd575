#!/usr/bin/env python3
"""What pytest leaves in a process of its own and in the worker of slave/src/run/workers (python.py and what is read behind it):
exit codes, output and reports of odd test files and options, each three times by one worker. Prints what differs.

    PATH=VENV/bin:$PATH tests/measure/worker_differences.py

It needs pytest. These differ by their nature: times, and what faulthandler prints of a process that dies, whose outermost frames
are the worker's. The names of all modules that are there when a test file is imported are to be the same.
"""

import difflib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKERS = ROOT / "slave/src/run/workers"
TEXT = "\n\n".join((WORKERS / name).read_text() for name in ("python.py", "session.py", "collection.py")) + "\nwork()\n"
BEGIN = (
    'exec(compile(__import__("sys").argv.pop(1), "<clusterrunner worker>", "exec"), '
    '{"__name__": "clusterrunner_worker"})'
)
PYTHON = shutil.which("python3")

FILES = {
    "conftest.py": """
import decimal, json, sqlite3
import pytest

@pytest.fixture(scope="session")
def once():
    print("the session begins")
    yield 7
    print("the session ends")

def pytest_sessionfinish(session):
    print("finished", session.testscollected)
""",
    "plug.py": "def pytest_report_header(config): return 'plug is here'\n",
    "test_plain.py": "def test_a(once): assert once == 7\ndef test_b(tmp_path): (tmp_path / 'x').write_text('a'); print(tmp_path)\n",
    "test_fail.py": "def test_a():\n    x = [1, 2]; assert x == [1, 3]\ndef test_b(): raise ValueError('no')\n",
    "test_around.py": """
import os, resource, signal, sys, threading

def test_around():
    print(sorted(os.environ), os.getcwd(), os.environ["SHLVL"], os.environ.get("PWD"))
    print(sys.argv, getattr(sys, "orig_argv", None), sys.flags, sys.executable, sys.path)
    main = sys.modules["__main__"]
    print(main.__file__, main.__spec__, sys.getrecursionlimit(), os.umask(0o22))
    print([signal.getsignal(one) for one in (1, 2, 3, 13, 15, 17)], resource.getrlimit(resource.RLIMIT_NOFILE))
    print(threading.active_count(), os.getpgid(0) == os.getpid(), os.isatty(0))
    print(re_of("SigBlk"), re_of("SigIgn"), re_of("SigCgt"))
    assert False

def re_of(name):
    return [line for line in open("/proc/self/status") if line.startswith(name)]
""",
    "test_stdin.py": "import os, sys\ndef test_s(): assert os.read(0, 10) == b''\ndef test_t(): sys.stdin.read()\n",
    "test_exit.py": "import os\ndef test_s(): os._exit(3)\n",
    "test_exit_0.py": "import os\ndef test_s(): os._exit(0)\n",
    "test_sys_exit.py": "import sys\ndef test_s(): sys.exit(3)\n",
    "test_signal.py": "import os\ndef test_s(): os.kill(os.getpid(), 9)\n",
    "test_thread.py": "import threading, time\ndef test_s(): threading.Thread(target=lambda: (time.sleep(.2), print('late'))).start()\n",
    "test_warning.py": "import warnings\ndef test_s(): warnings.warn('hey')\n",
    "test_atexit.py": "import atexit, os\ndef test_s(): atexit.register(lambda: os.write(1, b'bye\\n'))\n",
    "test_processes.py": """
import multiprocessing

def one_more(x):
    return x + 1

def test_s():
    for way in ("fork", "spawn"):
        with multiprocessing.get_context(way).Pool(2) as pool:
            assert pool.map(one_more, [1, 2]) == [2, 3]
""",
    "test_program.py": """
import subprocess, sys

def test_s(capfd):
    subprocess.check_call([sys.executable, "-c", "print(1)"])
    assert capfd.readouterr().out == "1\\n"
""",
    "test_syntax.py": "def test_s(:\n",
    "test_import.py": "import nothing_here\n",
    "test_skip.py": "import pytest\n@pytest.mark.skip('x')\ndef test_s(): pass\n@pytest.mark.xfail\ndef test_x(): assert False\n",
    "test_log.py": "import logging\ndef test_s(): logging.warning('w'); assert False\n",
    "test_print.py": "import os, sys\nprint('at import')\ndef test_s(): sys.stderr.write('e'); os.write(2, b'raw'); os.write(1, b'more')\n",
    "test_modules.py": """
import gc, os, sys

there = sorted(sys.modules)
for name, module in sorted(sys.modules.items()):
    # What "import a" gives for a.b.
    there += sorted(f"{name}: {one}" for one in vars(module) if f"{name}.{one}" in sys.modules)
there += [gc.get_threshold(), sys.getrefcount(None) > 0, sys.stdout, sys.stdin]
there += [sys.__stdout__.seekable(), sys.__stdin__.seekable(), sys.__stdin__.isatty(), sys.__stdout__.encoding, sys.__stdout__.errors]
there += [vars(sys.modules["__main__"]).keys(), sys.meta_path, sys.path_hooks, sys.warnoptions, sys.flags]
there += [sorted(os.listdir("/proc/self/fd")), sorted(os.environ.items())]
open(os.environ["ARTIFACT_DIR"] + "/around", "w").write("\\n".join(map(str, there)))

def test_s(): assert "json" in sys.modules
""",
    "test_cache.py": "def test_s(request): request.config.cache.set('a/b', 1)\n",
    "test_home.py": """
import os, site, sys

def test_s():
    print(os.path.expanduser("~"), site.ENABLE_USER_SITE, site.USER_SITE, site.USER_SITE in sys.path)
    import of_home
""",
    # What a session that many atoms share must not share.
    "asks/conftest.py": "import os\nWHICH = os.environ['ATOM']\ndef pytest_report_header(): return WHICH\n",
    "asks/test_one.py": "def test_s(): pass\n",
    "asks/test_two.py": "def test_s(): pass\n",
    "ends/conftest.py": "import tempfile\nOWN = tempfile.TemporaryDirectory()\n",
    "ends/test_one.py": "import conftest, os\ndef test_s(): assert os.path.isdir(conftest.OWN.name)\n",
    "ends/test_two.py": "import conftest, os\ndef test_s(): assert os.path.isdir(conftest.OWN.name)\n",
    "prints/conftest.py": "import os\nprint('imported')\nos.write(2, b'raw')\n",
    "prints/test_one.py": "print('at import')\ndef test_s(): assert False\n",
    "prints/test_two.py": "import os\ndef test_s(): print('x' * 9999); os._exit(0)\n",
    "starts/conftest.py": """
import os

def pytest_sessionstart(session):
    assert not os.path.exists("begun")
    os.mkdir("begun")

def pytest_sessionfinish(session):
    os.rmdir("begun")
""",
    "starts/test_one.py": "import os\ndef test_s(): assert os.path.isdir('begun')\n",
    "starts/test_two.py": "import os\ndef test_s(): assert os.path.isdir('begun')\n",
    "configures/conftest.py": "def pytest_configure(config): config.addinivalue_line('markers', 'ours: x')\n",
    "configures/test_one.py": "import pytest\n@pytest.mark.ours\n@pytest.mark.other\ndef test_s(): pass\n",
    "threads/conftest.py": "import threading\nENDS = threading.Event()\nTHREAD = threading.Thread(target=ENDS.wait)\nTHREAD.start()\n",
    "threads/test_one.py": "import conftest\ndef test_s(): assert conftest.THREAD.is_alive(); conftest.ENDS.set()\n",
    "threads/test_two.py": "import conftest\ndef test_s(): assert conftest.THREAD.is_alive(); conftest.ENDS.set()\n",
    "sub/conftest.py": "import csv\nimport helper\n",
    "sub/helper.py": "VALUE = 1\n",
    "sub/test_below.py": "import helper\ndef test_s(): assert helper.VALUE == 1\n",
    "pkg/__init__.py": "",
    "pkg/other.py": "VALUE = 2\n",
    "pkg/test_package.py": "from . import other\ndef test_s(): assert other.VALUE == 2\n",
}

OPTIONS = [
    "-q test_plain.py test_fail.py",
    "-x test_fail.py",
    "-s test_print.py test_around.py",
    "-p plug test_plain.py",
    "-p no:cacheprovider test_plain.py",
    "-p nothing_here test_plain.py",
    "--no-such-option",
    "--version",
    "-h",
    "no_file.py",
    "-v -rA test_skip.py",
    "-W error test_warning.py",
    "--fixtures test_plain.py",
    "-p no:terminal test_plain.py",
    "--capture=sys test_print.py",
    "--pdb test_fail.py",
    "test_modules.py -p no:xdist -p no:junitxml -p no:doctest",
    "-p no:cacheprovider test_modules.py",
    "test_plain.py::test_b",
    "test_plain.py::no_such",
    "test_plain.py test_skip.py",
    "--lf test_fail.py",
    "-k test_b test_plain.py",
    "--collect-only -q test_plain.py",
    "-o junit_suite_name=other test_plain.py",
    "-c pytest.ini test_plain.py",
    "-p no:unittest -p no:unraisableexception -pno:faulthandler test_modules.py",
]


def usual(text):
    """Without what is another in every run."""
    for pattern, instead in [
        (r"\d+\.\d+s", "_s"),
        (r"0x[0-9a-f]+", "0x_"),
        (r"pytest-of-\w+/pytest-\d+", "pytest-_"),
        (r'time="[\d.]+"', ""),
        (r'timestamp="[^"]+"', ""),
        (r"pid \d+", "pid"),
        (r"/tmp/\w+", "/tmp/_"),
    ]:
        text = re.sub(pattern, instead, text)
    return text


class Alone:
    def __init__(self, directory, script):
        self.directory = directory
        self.words = [script] if script else [PYTHON, "-m", "pytest"]

    def run(self, arguments, environment, console):
        line = " ".join(f"'{word}'" for word in self.words + arguments)
        with open(console, "w") as output:
            ended = subprocess.run(
                ["bash", "-c", f"set -o pipefail; {line}"],
                cwd=self.directory,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=os.setpgrp,
            )
        return ended.returncode if ended.returncode >= 0 else 128 - ended.returncode

    def end(self):
        pass


class Worker:
    def __init__(self, directory, script):
        self.directory, self.script, self.processes = directory, script, {}

    def process(self, arguments):
        """The slave starts another one where other plugins are switched off."""
        blocked = sorted(re.findall(r"no:(\w+)", " ".join(arguments)))
        known = self.processes.get(tuple(blocked))
        if known:
            return known
        words = [PYTHON, "-c", BEGIN, TEXT, "pytest", self.script, *blocked]
        line = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        process = subprocess.Popen(
            ["bash", "-c", f"set -o pipefail; exec {line} 3<&0 4>&1 </dev/null >&2"],
            cwd=self.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(self.directory + ".said", "a"),
            preexec_fn=os.setpgrp,
        )
        assert json.loads(process.stdout.readline()) == {"worker": 1}
        self.processes[tuple(blocked)] = process
        return process

    def run(self, arguments, environment, console):
        return self.answer(arguments, environment, console)["exit_code"]

    def answer(self, arguments, environment, console):
        open(console, "w").close()
        variables = [f"{name}={value}" for name, value in environment.items()]
        parts = "\0".join(["1", console, str(len(variables)), *variables, *arguments]).encode()
        process = self.process(arguments)
        process.stdin.write(b"%d\n%s" % (len(parts), parts))
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def end(self):
        for process in self.processes.values():
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            print(f"a worker had {len(children)} sessions at its end")
            process.stdin.close()
            process.wait()
        os.remove(self.directory + ".said")


def runs(way, script, atoms):
    """Exit code, output and report of each."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as artifacts:
        for name, text in FILES.items():
            path = pathlib.Path(directory, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        runner = way(directory, script)
        for atom in atoms:
            report, around = pathlib.Path(artifacts, "junit.xml"), pathlib.Path(artifacts, "around")
            for left in (report, around):
                left.unlink(missing_ok=True)
            arguments = [f"--junitxml={report}", *atom.split()]
            console = artifacts + ".console"
            code = runner.run(arguments, {"ARTIFACT_DIR": artifacts, "ATOM": atom}, console)
            printed = pathlib.Path(console).read_text(errors="replace")
            around = around.read_text() if around.exists() else ""
            yield code, usual(printed), usual(report.read_text() if report.exists() else ""), usual(around)
        os.remove(console)
        runner.end()


def home(directory):
    """A directory of the user with a module, which Python finds there unless it belongs to a virtual environment."""
    os.environ["HOME"] = directory
    modules = subprocess.check_output([PYTHON, "-c", "import site; print(site.getusersitepackages())"], text=True)
    pathlib.Path(modules.strip()).mkdir(parents=True)
    pathlib.Path(modules.strip(), "of_home.py").touch()


def main():
    os.environ["PYTHONHASHSEED"] = "0"
    own_home = tempfile.TemporaryDirectory()
    home(own_home.name)
    atoms = [name for name in FILES if "test_" in name] + OPTIONS
    found = 0
    for script in ["", shutil.which("pytest")]:
        alone = list(runs(Alone, script, atoms))
        for number, warm in enumerate(runs(Worker, script, atoms * 3)):
            cold, atom = alone[number % len(atoms)], atoms[number % len(atoms)]
            if cold != warm:
                found += 1
                print(f"{script or 'python3 -m pytest'} {atom}: exit code {cold[0]} alone, {warm[0]} in the worker")
                for one, other in zip(cold[1:], warm[1:]):
                    print("\n".join(difflib.unified_diff(one.split("\n"), other.split("\n"), lineterm="", n=0)))
        print(f"{script or 'python3 -m pytest'}: {len(atoms)} kinds, {found} runs that differ so far")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
