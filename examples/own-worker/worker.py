#!/usr/bin/env python3
"""A worker: started once, it runs one atom after the other. See docs/workers.md."""
import json
import os
import subprocess
import sys

# What takes long is done here, once: imports, start-up, reading of large files.

print(json.dumps({"worker": 1}), flush=True)  # the version of the protocol
for line in sys.stdin:
    atom = json.loads(line)
    with open(atom["console"], "ab") as console:
        ended = subprocess.run(
            ["bash", "-c", atom["command"]],
            cwd=atom["directory"],
            env={**os.environ, **atom["environment"]},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
    code = ended.returncode  # -9 for signal 9, which a shell shows as 137
    print(json.dumps({"id": atom["id"], "exit_code": code if code >= 0 else 128 - code}), flush=True)
