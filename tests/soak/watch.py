"""Watches the servers from outside: what they take of the machine, and whether that grows."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.raw_http import get_json

from .account import Account
from .servers import Server

MEMORY_GROWTH = 6.0
"""MiB that a process may take more in the last third of the calm half than in the third before it."""
BLOCKS_GROWTH = 5000
"""The same for what Python has allocated, in blocks, each an object or its content: the system's view of memory is
blurred by what the allocator keeps, this is not. Of each third, the least counts, since nothing was under way then."""
MORE_FILES = 8
"""File descriptors that a process at rest may have more than a new one at rest: after a burst of events their client
keeps its connections until it is used again. One that were lost in each outage, or request, would be more."""
MORE_THREADS = 3
"""Threads: those for plain functions stay for a while."""
MORE_TASKS = 1
"""Tasks: what a new process has, it has for ever."""
STORAGE_GROWTH = 2.0
"""MiB that the inbox may take more in the last third of the calm half than in the third before it, since what is
completed or dead for longer than the retention makes room."""
STORAGE_MOST = {"file": 24.0, "log": 136.0, "Redis": 24.0}
"""MiB at any time: what is sent within the retention time and an outage, by far; SQLite's log may have 128 MiB before
it is begun anew."""
COLLECT_DEAD_EVERY = 5.0
"""Seconds, far less than they are kept."""

Storage = Callable[[], Mapping[str, float] | None]
"""Tells how many MiB each part of the inbox takes; None where it cannot tell now."""


@dataclass(frozen=True)
class Sample:
    """How one process was."""

    at: float
    pid: int
    memory: float
    files: int
    threads: int
    tasks: int
    running: int
    blocks: int


class Watch:
    """Looks at the servers every few seconds, and collects the dead letters before they are erased.

    Args:
        servers: which.
        storage: tells what the inbox takes.
        account: gets the dead letters.
        interval: seconds between two looks.
    """

    def __init__(self, servers: Sequence[Server], storage: Storage, account: Account, *, interval: float) -> None:
        self._servers = servers
        self._storage = storage
        self._account = account
        self._interval = interval
        self.samples: list[Sample] = []
        self.stored: list[tuple[float, Mapping[str, float]]] = []

    async def run(self) -> None:
        """Look until cancelled."""
        collected = 0.0
        while True:
            await self.look()
            if monotonic() - collected > COLLECT_DEAD_EVERY:
                await self.collect_dead()
                collected = monotonic()
            await asyncio.sleep(self._interval)

    async def look(self) -> list[Sample]:
        """Look once at each process that answers; return what was seen."""
        seen = [sample for server in self._servers if (sample := await _sample_of(server)) is not None]
        self.samples += seen
        taken = await asyncio.to_thread(self._storage)
        if taken is not None:
            self.stored.append((monotonic(), taken))
        return seen

    async def collect_dead(self) -> None:
        """Take over the dead letters that are there now, from any server that can tell."""
        for server in self._servers:
            letters = await get_json(server.port, "/dead", timeout=3)
            if letters is not None:
                self._account.dead.update(letters)
                return

    def table(self) -> str:
        """Return what was seen in each sixth of the time."""
        if not self.samples:
            return "nothing was seen"
        began, ended = self.samples[0].at, self.samples[-1].at
        lines = ["  minute  processes  memory MiB  files  threads  tasks  running  storage MiB (the most of each)"]
        for part in range(6):
            since, until = (began + (ended - began) * one / 6 for one in (part, part + 1))
            some = [sample for sample in self.samples if since <= sample.at <= until]
            if some:
                most = {name: max(value) for name, value in self._stored_between(since, until).items()}
                columns = zip(
                    *((one.memory, one.files, one.threads, one.tasks, one.running) for one in some), strict=True
                )
                memory, *others = (max(column) for column in columns)
                told = f"{(until - began) / 60:8.1f}  {len({one.pid for one in some}):9}  {memory:10.1f}"
                told += "".join(f"{value:{width}}" for value, width in zip(others, (7, 9, 7, 9), strict=True))
                lines.append(told + "  " + ", ".join(f"{name} {value:.1f}" for name, value in most.items()))
        return "\n".join(lines)

    def growth(self, began: float, ended: float) -> tuple[list[str], list[str]]:
        """Compare the second with the last third of a time in which no process was started.

        Returns:
            What was measured, and what is wrong with it.
        """
        told, wrong = [], []
        step = (ended - began) / 3
        for pid in sorted({one.pid for one in self.samples if one.at >= began}):
            before, after = (
                [one for one in self.samples if one.pid == pid and since <= one.at < since + step]
                for since in (began + step, began + 2 * step)
            )
            memory, more = (statistics.median(one.memory for one in some) for some in (before, after))
            blocks, more_blocks = (min(one.blocks for one in some) for some in (before, after))
            told.append(
                f"memory of process {pid}: {more:.1f} MiB, {more - memory:+.1f} within {step:.0f} s; "
                f"{more_blocks} blocks, {more_blocks - blocks:+}"
            )
            if more - memory > MEMORY_GROWTH:
                wrong.append(f"the memory of a process grew by {more - memory:.1f} MiB")
            if more_blocks - blocks > BLOCKS_GROWTH:
                wrong.append(f"the memory of a process grew by {more_blocks - blocks} blocks")
        earlier = self._stored_between(began + step, began + 2 * step)
        for name, values in self._stored_between(began + 2 * step, ended).items():
            grown = max(values) - max(earlier[name])
            told.append(f"{name}: {max(values):.1f} MiB, {grown:+.1f}")
            if name != "log" and grown > STORAGE_GROWTH:
                wrong.append(f"{name} grew by {grown:.1f} MiB")
        for name, most in STORAGE_MOST.items():
            taken = max((found[name] for _, found in self.stored if name in found), default=0.0)
            if taken > most:
                wrong.append(f"{name} took {taken:.1f} MiB")
        return told, wrong

    def _stored_between(self, began: float, ended: float) -> dict[str, list[float]]:
        values: dict[str, list[float]] = {}
        for at, taken in self.stored:
            if began <= at < ended:
                for name, value in taken.items():
                    values.setdefault(name, []).append(value)
        return values


def compared(new: Sequence[Sample], old: Sequence[Sample]) -> tuple[list[str], list[str]]:
    """Compare processes at rest at the end with new ones at rest.

    Returns:
        What was measured, and what is wrong with it.
    """
    told, wrong = [], []
    for name, more in {"files": MORE_FILES, "threads": MORE_THREADS, "tasks": MORE_TASKS, "running": 0}.items():
        level = max(getattr(sample, name) for sample in new)
        now = max(getattr(sample, name) for sample in old)
        told.append(f"{name} at rest: {level} at first, {now} in the end")
        if now > level + more:
            wrong.append(f"{name} at rest: {now}, which was {level} at first")
    return told, wrong


async def _sample_of(server: Server) -> Sample | None:
    inside = await get_json(server.port, "/state", timeout=3)
    process = Path(f"/proc/{server.pid}")
    try:
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        files = len(list((process / "fd").iterdir()))
    except OSError:
        return None
    if inside is None or "VmRSS" not in status:  # it is about to start, or to end
        return None
    return Sample(
        at=monotonic(),
        pid=server.pid,
        memory=int(status["VmRSS"].split()[0]) / 1024,
        files=files,
        threads=int(status["Threads"]),
        tasks=inside["tasks"],
        running=inside["running"],
        blocks=inside["blocks"],
    )
