#!/usr/bin/env python3
"""What readers cost, and how soon they are told.

    python3 tests/measure/readers.py [PROGRAM] [READERS]

A farm of one slave with two executors on loopback runs builds of 200 atoms: with nobody who follows, with READERS
(1,000) connections that follow GET /v2/events, and again with nobody. Told are for each build the time that it took, and
the time of 50 reads of the whole build that it answered meanwhile: each of them waits for its turn in the coordinator.

Then an atom prints the time 50 times, and `clusterrunner logs --follow` passes it on: told is how old each line is when it
comes out.
"""

import asyncio
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

PROGRAM = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/debug/clusterrunner")
READERS = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
JOBS = """
Many:
  commands: ["true"]
  atomizers: [{N: seq 200}]
Clock:
  commands: ['for i in $(seq 50); do date +%s.%N; sleep 0.1; done']
  atomizers: [{N: echo 1}]
"""


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def processor_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def follow(port, told):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v2/events HTTP/1.1\r\nHost: farm\r\nAccept: text/event-stream\r\n\r\n")
    await writer.drain()
    began = False
    while line := await reader.readline():
        if line.startswith(b"event:"):
            told["events"] += 1
            if not began:
                began = True
                told["readers"] += 1


async def command(environment, project, *arguments):
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *arguments, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output, _ = await process.communicate()
    return output.decode()


async def build(environment, project, port, master):
    """The time of a build, of reads meanwhile, and the master's processor time."""
    before, began = processor_seconds(master), time.monotonic()
    running = asyncio.ensure_future(command(environment, project, "build", "--job-name", "Many", "-m", f"127.0.0.1:{port}"))
    reads = []
    while not running.done():
        at = time.monotonic()
        await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/slaves").read())
        reads.append(time.monotonic() - at)
        await asyncio.sleep(0.02)
    await running
    return time.monotonic() - began, statistics.median(reads) * 1000, processor_seconds(master) - before


async def measure(directory):
    port, slave_port = free_ports(2)
    project = directory / "project"
    project.mkdir()
    (project / "clusterrunner.yaml").write_text(JOBS)
    settings = directory / "clusterrunner.conf"
    settings.write_text(
        f"[general]\nsecret = 'a secret of this measurement {os.getpid()}'\nbind_address = 127.0.0.1\n"
        f"[master]\nport = {port}\n[slave]\nport = {slave_port}\nhostname = 127.0.0.1\n"
        f"master_hostname = 127.0.0.1\nmaster_port = {port}\nnum_executors = 2\n")
    settings.chmod(0o600)
    environment = {**os.environ, "CLUSTERRUNNER_BASE_DIRECTORY": str(directory), "HOME": str(directory)}
    daemons = [
        subprocess.Popen([PROGRAM, daemon], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for daemon in ("master", "slave")
    ]
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/slaves") as answer:
                    if any(slave["is_alive"] for slave in json.load(answer)["slaves"]):
                        break
            except OSError:
                pass
            await asyncio.sleep(0.1)
        await readers(environment, project, port, daemons[0])
        await lines(environment, project, port)
    finally:
        for daemon in daemons:
            daemon.send_signal(signal.SIGTERM)
        for daemon in daemons:
            daemon.wait()


async def readers(environment, project, port, master):
    await build(environment, project, port, master)
    for number in (0, READERS, 0, READERS, 0):
        told = {"readers": 0, "events": 0}
        following = [asyncio.ensure_future(follow(port, told)) for _ in range(number)]
        while told["readers"] < number:
            await asyncio.sleep(0.1)
        took, read, processor = await build(environment, project, port, master)
        print(f"{number:5} readers: build {took:.2f} s, a read {read:.1f} ms (median), master's processor {processor:.2f} s, "
              f"{told['events']} events told", flush=True)
        for one in following:
            one.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def lines(environment, project, port):
    detached = await command(
        environment, project, "build", "--job-name", "Clock", "--detach", "-m", f"127.0.0.1:{port}")
    number = re.search(r"\d+", detached).group()
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "logs", number, "0_0", "--follow", "-m", f"127.0.0.1:{port}",
        cwd=project, env=environment, stdout=subprocess.PIPE)
    ages = []
    while line := await process.stdout.readline():
        if re.fullmatch(rb"\d+\.\d+\n", line):
            ages.append((time.time() - float(line)) * 1000)
    await process.wait()
    ages = sorted(ages[1:])
    if not ages:
        sys.exit("no line was passed on")
    print(f"a printed line is passed on after {statistics.median(ages):.0f} ms (median of {len(ages)}), "
          f"{ages[-1]:.0f} ms at most")


def main():
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(pathlib.Path(directory)))


main()
