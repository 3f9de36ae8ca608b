"""Second processes for the tests of the SQLite inbox."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

HOLD_CLAIMS = """
import sys, anyio
from starlette_intercom.inbox.sqlite import SQLiteInbox

async def main():
    inbox = SQLiteInbox(sys.argv[1])
    await inbox.open()
    claims = await inbox.claim(100, lease=3600)
    print(len(claims), flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""

HOLD_WRITE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""

ACCEPT_UNTIL_KILLED = """
import sys, anyio
from starlette_intercom.inbox.sqlite import SQLiteInbox
from starlette_intercom.testing.conformance_model import notification_for

async def main(path, name):
    inbox = SQLiteInbox(path)
    await inbox.open()

    async def deliver(sender):
        for number in range(1_000_000):
            key = f"{name}-{sender}-{number}"
            await inbox.accept(notification_for(key), key=key)
            print(key, flush=True)

    async with anyio.create_task_group() as tasks:
        for sender in range(8):
            tasks.start_soon(deliver, sender)

anyio.run(main, sys.argv[1], sys.argv[2])
"""

ACCEPT_AND_COMPLETE = """
import sys, anyio
from starlette_intercom.inbox.sqlite import SQLiteInbox
from starlette_intercom.testing.conformance_model import notification_for

async def main(path, count):
    inbox = SQLiteInbox(path, busy_timeout=30)
    await inbox.open()
    new = []
    completed = []

    async def deliver(keys):
        for key in keys:
            if await inbox.accept(notification_for(key), key=key):
                new.append(key)

    async with anyio.create_task_group() as tasks:
        for part in range(8):
            tasks.start_soon(deliver, [str(number) for number in range(count) if number % 8 == part])
        while True:
            claims = await inbox.claim(20, lease=60)
            for claim in claims:
                await inbox.complete(claim)
                completed.append(claim.delivery.id)
            stats = await inbox.stats()
            if not claims and stats.done == count:
                break
    print(len(new), *completed, flush=True)
    await inbox.close()

anyio.run(main, sys.argv[1], int(sys.argv[2]))
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that runs a script."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_line(process: subprocess.Popen[str]) -> str:
    """Wait for a line of its output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def read_rest(process: subprocess.Popen[str]) -> list[str]:
    """Kill it, and give the whole lines that it had written and nobody read."""
    process.kill()
    assert process.stdout is not None
    # Not with communicate(), which reads past what readline() has taken from the pipe and not yet given.
    *lines, _cut_off = process.stdout.read().split("\n")
    process.communicate(timeout=30)
    return lines


def end(process: subprocess.Popen[str]) -> None:
    """Kill it, and let go of its pipes."""
    process.kill()
    process.communicate(timeout=30)
