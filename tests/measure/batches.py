#!/usr/bin/env python3
"""How long a suite of many short test files of pytest takes: by `pytest -n 2` (xdist), by batches, by workers, and by a process
for each file, in turns. All of them write a report of all tests, and the farm's builds bring their results back.

    cargo build --release && PATH=VENV/bin:$PATH tests/measure/batches.py [FILES [ROUNDS]]

It needs pytest and pytest-xdist. The farm has its own home and two executors; its first round knows no durations yet.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("CLUSTERRUNNER_PROGRAM", str(ROOT / "target/release/clusterrunner"))
PYTEST = "python3 -m pytest -q -p no:cacheprovider"
TEST = "def test_a():\n    assert True\n\n\ndef test_b():\n    assert {number} > 0\n"
# What `clusterrunner init` writes: for each file that pytest is given by name it looks through its whole directory.
BATCH = """\
python3 - -q -p no:cacheprovider --junitxml="$ARTIFACT_DIR/junit.xml" <<'END'
    import os, pathlib, sys, pytest
    names = open(os.environ["ATOMS_FILE"]).read().splitlines()
    files = {pathlib.Path(os.path.abspath(name)) for name in names}
    needed = files.union(*(file.parents for file in files))
    class OnlyThese:
        def pytest_ignore_collect(self, collection_path):
            is_needed = collection_path in needed or collection_path.name == "__init__.py"
            return None if is_needed else True
    directories = {file.parent for file in files}
    roots = [str(one) for one in sorted(directories) if directories.isdisjoint(one.parents)]
    sys.exit(pytest.main([*sys.argv[1:], *roots], plugins=[OnlyThese()]))
    END
"""
JOBS = """\
Batches:
  commands: ['{pytest} --junitxml="$ARTIFACT_DIR/junit.xml" "$FILE"']
  batch_command: |
    {batch}
  atomizers: [{{FILE: ls tests/test_*.py}}]
Named:
  commands: ['{pytest} --junitxml="$ARTIFACT_DIR/junit.xml" "$FILE"']
  batch_command: '{pytest} --junitxml="$ARTIFACT_DIR/junit.xml" $(cat "$ATOMS_FILE")'
  atomizers: [{{FILE: ls tests/test_*.py}}]
Workers:
  commands: ['{pytest} --junitxml="$ARTIFACT_DIR/junit.xml" "$FILE"']
  worker: pytest
  atomizers: [{{FILE: ls tests/test_*.py}}]
Single:
  commands: ['{pytest} --junitxml="$ARTIFACT_DIR/junit.xml" "$FILE"']
  atomizers: [{{FILE: ls tests/test_*.py}}]
"""


def main():
    arguments = [int(argument) for argument in sys.argv[1:]]
    files, rounds = (arguments + [200, 5][len(arguments):])[:2]
    with tempfile.TemporaryDirectory() as base:
        home, project = pathlib.Path(base, "home"), pathlib.Path(base, "project")
        (project / "tests").mkdir(parents=True)
        home.mkdir()
        for number in range(1, files + 1):
            (project / f"tests/test_file_{number}.py").write_text(TEST.format(number=number))
        (project / "clusterrunner.yaml").write_text(JOBS.format(pytest=PYTEST, batch=BATCH))
        environment = dict(os.environ, HOME=str(home), PYTHONDONTWRITEBYTECODE="1")

        def timed(command):
            began = time.monotonic()
            subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)
            return time.monotonic() - began

        def build(job):
            return timed([PROGRAM, "build", "--job-name", job, "--quiet"])

        def xdist():
            return timed([*PYTEST.split(), "-n", "2", f"--junitxml={base}/junit.xml", "tests"])

        try:
            print(f"{files} files; the first build of a farm that starts for it: {build('Batches'):.2f} s")
            ways = {
                "pytest -n 2": xdist,
                "batches": lambda: build("Batches"),
                "workers": lambda: build("Workers"),
                "batches of files by name": lambda: build("Named"),
            }
            took = {name: [] for name in ways}
            for _ in range(rounds):
                for name, way in ways.items():
                    took[name].append(way())
            took["a process for each file"] = [build("Single")]
            floor = statistics.median(took["pytest -n 2"])
            for name, times in took.items():
                each = ", ".join(f"{one:.2f}" for one in times)
                print(f"{name}: {each} s; median x {statistics.median(times) / floor:.2f} of pytest -n 2")
        finally:
            subprocess.run([PROGRAM, "stop"], env=environment, check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
