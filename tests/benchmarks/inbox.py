"""What an inbox costs: accept, claim and complete, by how many do it at once and how much waits already.

Run it from the root of the repository: ``python -m tests.benchmarks.inbox --help``. It pins itself to one core, event
loop and writing thread together, so that what it prints are costs and not what a second core hides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from starlette_intercom.inbox.contract import Inbox
from starlette_intercom.inbox.memory import MemoryInbox
from starlette_intercom.inbox.sqlite import SQLiteInbox
from starlette_intercom.notification import VerifiedBody, VerifiedNotification

# Some claim while others complete, as in a runner.
_WORKERS = 4


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of the rounds."""

    inbox: str
    concurrency: int
    backlog: int
    per_second: float
    cpu_us: float
    memory_mib: float


def _notifications(count: int, size: int, prefix: str) -> list[tuple[str, VerifiedNotification]]:
    made = []
    for number in range(count):
        key = f"workspace:notif_{os.urandom(16).hex()}"
        body = {
            "type": "notification_event",
            "app_id": "workspace",
            "topic": "contact.created",
            "id": f"{prefix}{number}",
            "created_at": 1_700_000_000 + number,
            "data": {"type": "notification_event_data", "item": {"text": "x" * (size - 200)}},
        }
        content = json.dumps(body).encode()
        made.append((key, VerifiedNotification(VerifiedBody(content=content, secret_name="benchmark"))))
    return made


async def _fill(inbox: Inbox, backlog: int, size: int) -> None:
    for start in range(0, backlog, 1000):
        some = _notifications(min(1000, backlog - start), size, f"backlog-{start}-")
        await asyncio.gather(*(inbox.accept(notification, key=key) for key, notification in some))


async def _round(inbox: Inbox, concurrency: int, count: int, size: int) -> tuple[float, float]:
    """Let ``concurrency`` senders accept while a few workers claim, and complete what they claimed."""
    pending = _notifications(count, size, "round-")
    completed = 0
    finished = asyncio.Event()
    started, cpu = time.perf_counter(), time.process_time()

    async def send() -> None:
        while pending:
            key, notification = pending.pop()
            await inbox.accept(notification, key=key)

    async def work() -> None:
        nonlocal completed
        while not finished.is_set():
            claims = await inbox.claim(concurrency, lease=30)
            if claims:
                await asyncio.gather(*(inbox.complete(claim) for claim in claims))
                completed += len(claims)
                if completed >= count:
                    finished.set()
            else:
                await inbox.wait(5)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(send())
        workers = [tasks.create_task(work()) for _ in range(_WORKERS)]
        await finished.wait()
        result = count / (time.perf_counter() - started), (time.process_time() - cpu) / count * 1e6
        for worker in workers:
            worker.cancel()
    return result


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def _measure(name: str, concurrency: int, backlog: int, arguments: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        inbox: Inbox
        if name == "sqlite":
            inbox = SQLiteInbox(Path(directory) / "inbox.db")
        else:
            inbox = MemoryInbox(max_unfinished=2_000_000, max_bytes=2**33)
        await inbox.open()
        await _fill(inbox, backlog, arguments.size)
        count = arguments.count if concurrency > 1 else arguments.count // 5
        await _round(inbox, concurrency, min(count, 2000), arguments.size)
        rounds = [await _round(inbox, concurrency, count, arguments.size) for _ in range(arguments.rounds)]
        memory = _resident_mib()
        await inbox.close()
    return Result(
        inbox=name,
        concurrency=concurrency,
        backlog=backlog,
        per_second=statistics.median(rate for rate, _ in rounds),
        cpu_us=statistics.median(cpu for _, cpu in rounds),
        memory_mib=memory,
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inbox", nargs="+", default=["memory", "sqlite"], choices=["memory", "sqlite"])
    parser.add_argument("--concurrency", nargs="+", type=int, default=[1, 32, 512])
    parser.add_argument("--backlog", nargs="+", type=int, default=[0])
    parser.add_argument("--count", type=int, default=10_000, help="notifications a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=3000, help="bytes of a body")
    parser.add_argument("--directory", help="where the files go; the default is that of temporary files")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    results = []
    print(f"{'inbox':8} {'at once':>8} {'waiting':>8} {'per second':>11} {'CPU us':>8} {'MiB':>7}")
    for name in arguments.inbox:
        for backlog in arguments.backlog:
            for concurrency in arguments.concurrency:
                one = asyncio.run(_measure(name, concurrency, backlog, arguments))
                results.append(one)
                figures = f"{one.per_second:11.0f} {one.cpu_us:8.1f} {one.memory_mib:7.1f}"
                print(f"{name:8} {concurrency:8} {backlog:8} {figures}", flush=True)
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)))


if __name__ == "__main__":
    main()
