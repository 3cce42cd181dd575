#!/usr/bin/env python3
"""What others get of a master while slow loris holds connections: tests/measure/loris.py HOST:PORT [CONNECTIONS] [SECONDS]

The connections each send a byte of a head every few seconds and never end it; those that are closed come again. Meanwhile
others ask for the list of builds, each on a connection of its own. Printed are how long these took, without the crowd and
with it. Run it against a farm of your own: it needs as many descriptors as there are connections (`ulimit -n`).
"""

import asyncio
import sys
import time

HEAD = b"GET / HTTP/1.1\r\nHost: loris\r\nX-a: "
PAUSE_S = 2
READ = b"GET /v2/builds HTTP/1.1\r\nHost: loris\r\nConnection: close\r\n\r\n"


async def hold(host, port, stop, opened):
    """One of the crowd."""
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(PAUSE_S)
            continue
        opened.append(1)
        try:
            writer.write(HEAD)
            while not stop.is_set() and not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(PAUSE_S)
        except OSError:
            pass
        writer.close()


async def reads(host, port, seconds):
    """How long reads take, one after the other, in milliseconds."""
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(READ)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        took.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(0.005)
    return sorted(took)


def shown(what, took):
    """A line of figures."""
    at = lambda part: took[min(int(len(took) * part), len(took) - 1)]
    print(f"{what}: {len(took)} reads, median {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, longest {took[-1]:.1f} ms")


async def main():
    host, port = sys.argv[1].rsplit(":", 1)
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 20
    shown("alone", await reads(host, port, seconds / 2))
    stop, opened = asyncio.Event(), []
    crowd = [asyncio.create_task(hold(host, port, stop, opened)) for _ in range(number)]
    while len(opened) < number:
        await asyncio.sleep(0.1)
    shown(f"beside {number} slow heads", await reads(host, port, seconds))
    stop.set()
    for one in crowd:
        one.cancel()
    print(f"{len(opened)} connections were opened in all")


asyncio.run(main())
