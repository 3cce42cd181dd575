#!/usr/bin/env python3
"""The processor time of a short test file: in the worker of slave/src/run/workers by itself, by `pytest -n 2` (xdist), and in a
process for each file, in turns. Processor time says something on a busy machine, too.

    PATH=VENV/bin:$PATH tests/measure/worker_cost.py [FILES [ROUNDS]]

It needs pytest and pytest-xdist. What the farm adds is not in it: see batches.py.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from worker_differences import Worker

TEST = "def test_a():\n    assert True\n\n\ndef test_b():\n    assert {number} > 0\n"
OPTIONS = ["-q", "-p", "no:cacheprovider"]


def used():
    """The processor time of all that has ended, in milliseconds."""
    times = os.times()
    return (times.children_user + times.children_system) * 1000


def main():
    arguments = [int(argument) for argument in sys.argv[1:]]
    files, rounds = (arguments + [200, 3][len(arguments):])[:2]
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as artifacts:
        tests = pathlib.Path(directory, "tests")
        tests.mkdir()
        names = [f"tests/test_file_{number}.py" for number in range(files)]
        for number, name in enumerate(names):
            pathlib.Path(directory, name).write_text(TEST.format(number=number + 1))
        report = f"--junitxml={artifacts}/junit.xml"

        def worker():
            """What each fork used; its first atom also waits for the session, whose time is not in it."""
            own = Worker(directory, "")
            all_of_them = []
            for name in names:
                answer = own.answer([*OPTIONS, report, name], {"FILE": name}, f"{artifacts}/console")
                assert answer["exit_code"] == 0, answer
                all_of_them.append(answer["cpu_ms"] - 1)  # It is rounded up.
            own.end()
            return sum(all_of_them) / files

        def xdist():
            before = used()
            subprocess.run(["pytest", *OPTIONS, "-n", "2", report, "tests"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
            return (used() - before) / files

        def alone():
            before = used()
            for name in names[:20]:
                subprocess.run(["python3", "-m", "pytest", *OPTIONS, report, name], cwd=directory, check=True, stdout=subprocess.DEVNULL)
            return (used() - before) / 20

        for _ in range(rounds):
            print(f"worker {worker():.1f} ms, pytest -n 2 {xdist():.1f} ms, a process of its own {alone():.1f} ms", flush=True)


if __name__ == "__main__":
    main()
