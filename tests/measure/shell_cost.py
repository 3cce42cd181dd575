#!/usr/bin/env python3
"""The processor time of an atom in the shell of `worker: bash` (slave/src/work/workers/errand.rs) by itself, next to shells that do
less for each: how much of it is bash's fork alone. In turns; the least of the rounds counts.

    tests/measure/shell_cost.py [ATOMS [ROUNDS]]
"""

import os
import pathlib
import subprocess
import sys
import tempfile

VARIABLES = "ARTIFACT_DIR ATOM_ID BUILD_EXECUTOR_INDEX CLUSTERRUNNER_ATTEMPT EXECUTOR_INDEX MACHINE_EXECUTOR_INDEX PROJECT_DIR".split()
LOOP = """\
set -m; printf '{{"worker":1}}\\n'; while IFS= read -r id; do {atom} & wait "$!"; printf \
'{{"id":%s,"exit_code":%s,"process_group":%s}}\\n' "$id" "$?" "$!"; done"""
READ = "IFS= read -r -d '' text < '{request}' || exit 1"
ATOMS = {
    "an atom": "( " + READ + '; eval "$text" )',
    "its text, which is not run": "( " + READ + " )",
    "nothing": "( : )",
}


def main():
    arguments = [int(argument) for argument in sys.argv[1:]]
    atoms, rounds = (arguments + [1000, 5][len(arguments):])[:2]
    with tempfile.TemporaryDirectory() as base:
        request, console = pathlib.Path(base, "request"), pathlib.Path(base, "console")
        console.touch()
        exports = " ".join(f"{name}='/some/where'" for name in VARIABLES)
        request.write_text(f"set +m; unset -v id text; exec </dev/null >>'{console}' 2>&1 || exit 1; export {exports}; true\0")

        def used(atom):
            line = LOOP.format(atom=atom.format(request=request))
            shell = subprocess.Popen(["bash", "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            shell.stdout.readline()
            for number in range(atoms):
                shell.stdin.write(b"%d\n" % number)
                shell.stdin.flush()
                answer = shell.stdout.readline()
                assert b'"exit_code":0' in answer, answer
            shell.stdin.close()
            _, status, usage = os.wait4(shell.pid, 0)
            shell.returncode = os.waitstatus_to_exitcode(status)
            return (usage.ru_utime + usage.ru_stime) / atoms * 1e6, usage.ru_minflt / atoms

        found = {name: [] for name in ATOMS}
        for _ in range(rounds):
            for name, atom in ATOMS.items():
                found[name].append(used(atom))
        for name, each in found.items():
            print(f"{name}: {min(each)[0]:.0f} us of a processor, {min(faults for _, faults in each):.0f} page faults")


if __name__ == "__main__":
    main()
