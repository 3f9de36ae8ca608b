"""What an inbox costs: accept, claim and complete, by how many do it at once and how much waits already.

Run it from the root of the repository: ``python -m tests.benchmarks.inbox --help``. It pins itself to one core, event
loop and writing thread together, so that what it prints are costs and not what a second core hides.

``costs`` lets senders and workers have an inbox at the same time. ``backlog`` compares two files, one nearly empty and
one in which many deliveries wait: in turns, each step by itself, with what SQLite writes.
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
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from starlette_intercom.inbox.contract import Claim, Inbox
from starlette_intercom.inbox.memory import MemoryInbox
from starlette_intercom.inbox.sqlite import SQLiteInbox
from starlette_intercom.notification import VerifiedBody, VerifiedNotification

# Some claim while others complete, as in a runner.
_WORKERS: Final = 4

_STEPS: Final = ("accept", "claim", "complete")
_PAGE: Final = 16384  # bytes of a page of SQLite


ItemT = TypeVar("ItemT")


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


async def _mixed(inbox: Inbox, concurrency: int, count: int, size: int) -> tuple[float, float]:
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
        await _mixed(inbox, concurrency, min(count, 2000), arguments.size)
        rounds = [await _mixed(inbox, concurrency, count, arguments.size) for _ in range(arguments.rounds)]
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


class Step(msgspec.Struct, kw_only=True):
    """What one step costs a file in a round, in all.

    Attributes:
        step: accept, claim or complete.
        waiting: how many wait in the file besides those of the round.
        wall: seconds.
        cpu: seconds of the processor, of all threads.
        log_pages: pages written to the write-ahead log.
        checkpoint_pages: pages copied from the log to the database.
    """

    step: str
    waiting: int
    wall: float = 0.0
    cpu: float = 0.0
    log_pages: float = 0.0
    checkpoint_pages: float = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Add what is done meanwhile.

        SQLite writes a page to its log with two calls, of 24 bytes and of the page, and to the database with one: the
        numbers of calls and of bytes tell how many of each there were.
        """
        before = (time.perf_counter(), time.process_time(), *_written())
        yield
        after = (time.perf_counter(), time.process_time(), *_written())
        wall, cpu, calls, written = (now - then for now, then in zip(after, before, strict=True))
        log_pages = (calls - written / _PAGE) / (1 - 24 / _PAGE)
        self.wall += wall
        self.cpu += cpu
        self.log_pages += log_pages
        self.checkpoint_pages += calls - 2 * log_pages


async def _side_by_side(items: Iterable[ItemT], do: Callable[[ItemT], Awaitable[object]], many: int) -> None:
    """Do one after the other of what an iterator gives, in ``many`` tasks."""
    source = iter(items)

    async def some() -> None:
        for item in source:
            await do(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(many):
            tasks.create_task(some())


def _written() -> tuple[int, int]:
    """Return how many calls have written how many bytes."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["syscw"]), int(fields["wchar"])


async def _turn(inbox: Inbox, steps: list[Step], arguments: argparse.Namespace) -> None:
    """Accept so many, claim and complete as many, and forget them."""
    count, many = arguments.count, arguments.concurrency
    accept, claim, complete = steps
    fresh = _notifications(count, arguments.size, "round-")
    claims: list[Claim] = []
    with accept.measured():
        await _side_by_side(fresh, lambda pair: inbox.accept(pair[1], key=pair[0]), many)
    with claim.measured():
        while len(claims) < count:
            claims += await inbox.claim(min(many, count - len(claims)), lease=3600)
    with complete.measured():
        await _side_by_side(claims, inbox.complete, many)
    await inbox.tidy()


async def _round(inboxes: dict[int, Inbox], number: int, arguments: argparse.Namespace) -> list[Step]:
    """Let the files take turns: short ones, so that a slow moment of the machine hits both."""
    steps = {waiting: [Step(step=step, waiting=waiting) for step in _STEPS] for waiting in inboxes}
    for turn in range(number, number + arguments.turns):
        for waiting in sorted(inboxes, reverse=bool(turn % 2)):
            await _turn(inboxes[waiting], steps[waiting], arguments)
    return [step for of_file in steps.values() for step in of_file]


async def _compare(arguments: argparse.Namespace) -> list[Step]:
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        inboxes: dict[int, Inbox] = {}
        for waiting in (0, arguments.backlog):
            inbox: Inbox = SQLiteInbox(Path(directory) / f"{waiting}.db", retention=arguments.retention)
            inboxes[waiting] = inbox
            before = _resident_mib()
            await inbox.open()
            await _fill(inbox, waiting, arguments.size)
            print(f"{waiting:,} waiting: {_resident_mib() - before:.1f} MiB more of memory", flush=True)
        await _round(inboxes, 0, arguments)
        found = [step for number in range(arguments.rounds) for step in await _round(inboxes, number, arguments)]
        for inbox in inboxes.values():
            await inbox.close()
    return found


def _print_steps(found: list[Step], arguments: argparse.Namespace) -> None:
    each = 1 / (arguments.count * arguments.turns)
    print(f"{'each':9} {'waiting':>10} {'wall us':>9} {'CPU us':>9} {'pages to the log':>17} {'to the database':>16}")
    for step in _STEPS:
        empty, full = (
            [one for one in found if (one.step, one.waiting) == (step, waiting)] for waiting in (0, arguments.backlog)
        )
        for every in (empty, full):
            wall = statistics.median(one.wall for one in every) * each * 1e6
            cpu = statistics.median(one.cpu for one in every) * each * 1e6
            log_pages = statistics.mean(one.log_pages for one in every) * each
            checkpoint_pages = statistics.mean(one.checkpoint_pages for one in every) * each
            figures = f"{wall:9.1f} {cpu:9.1f} {log_pages:17.2f} {checkpoint_pages:16.2f}"
            print(f"{step:9} {every[0].waiting:10,} {figures}")
        by_wall = sorted(one.wall / other.wall for one, other in zip(empty, full, strict=True))
        by_cpu = sorted(one.cpu / other.cpu for one, other in zip(empty, full, strict=True))
        for name, ratios in (("wall", by_wall), ("CPU", by_cpu)):
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            print(f"{step:9} speed, full to empty, by {name:4}: {statistics.median(ratios):.3f} ({spread})")


def _costs(arguments: argparse.Namespace) -> None:
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


def _backlog(arguments: argparse.Namespace) -> None:
    found = asyncio.run(_compare(arguments))
    _print_steps(found, arguments)
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    costs = commands.add_parser("costs", help="senders and workers at the same time")
    costs.set_defaults(run=_costs)
    costs.add_argument("--inbox", nargs="+", default=["memory", "sqlite"], choices=["memory", "sqlite"])
    costs.add_argument("--concurrency", nargs="+", type=int, default=[1, 32, 512])
    costs.add_argument("--backlog", nargs="+", type=int, default=[0])
    costs.add_argument("--count", type=int, default=10_000, help="notifications a round")
    costs.add_argument("--rounds", type=int, default=3)
    backlog = commands.add_parser("backlog", help="an empty SQLite file and a full one, in turns")
    backlog.set_defaults(run=_backlog)
    backlog.add_argument("--concurrency", type=int, default=32)
    backlog.add_argument("--backlog", type=int, default=200_000)
    backlog.add_argument("--retention", type=float, default=0, help="seconds for which completed keys are known")
    backlog.add_argument("--count", type=int, default=1000, help="notifications a turn")
    # So many that each round has a checkpoint in both files.
    backlog.add_argument("--turns", type=int, default=16, help="turns of each file a round")
    backlog.add_argument("--rounds", type=int, default=9)
    for command in (costs, backlog):
        command.add_argument("--size", type=int, default=3000, help="bytes of a body")
        command.add_argument("--directory", help="where the files go; the default is that of temporary files")
        command.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    arguments.run(arguments)


if __name__ == "__main__":
    main()
