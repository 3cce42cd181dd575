#!/usr/bin/env python3
"""How long a job of a project takes on a farm of its own, next to a command that runs the same tests, in turns.

    cargo build --release && tests/measure/beside.py PROJECT JOB 'COMMAND' [ROUNDS]

The command runs in the project's directory. The first round starts the farm, knows no durations, and does not count.
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


def main():
    project, job, command, *rounds = sys.argv[1:]
    rounds = int(rounds[0]) if rounds else 5
    with tempfile.TemporaryDirectory() as home:
        environment = dict(os.environ, HOME=home, PYTHONDONTWRITEBYTECODE="1")
        for variable, directory in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")]:
            environment.setdefault(variable, str(pathlib.Path.home() / directory))

        def timed(command):
            began = time.monotonic()
            subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)
            return time.monotonic() - began

        ways = {
            job: lambda: timed([PROGRAM, "build", "--job-name", job, "--quiet"]),
            command: lambda: timed(["bash", "-c", command]),
        }
        try:
            print(f"the first build of a farm that starts for it: {ways[job]():.2f} s")
            took = {name: [] for name in ways}
            for _ in range(rounds):
                for name, way in ways.items():
                    took[name].append(way())
            floor = statistics.median(took[command])
            for name, times in took.items():
                each = ", ".join(f"{one:.2f}" for one in times)
                print(f"{name}: {each} s; median x {statistics.median(times) / floor:.2f}")
        finally:
            subprocess.run([PROGRAM, "stop"], env=environment, check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
