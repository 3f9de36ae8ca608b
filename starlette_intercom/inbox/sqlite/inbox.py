"""The inbox in a SQLite file: durable, for one or several processes of one host, without any service."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from ...errors import ConfigurationError, InboxUnavailable
from ...notification import VerifiedNotification
from ...time_limit import time_limit
from ..contract import RETENTION, Claim, DeadLetter, Failure, Inbox, Stats
from .dead import Filter, Forget, Purge, Replay, Tidy, find_mentions, list_dead, read_stats
from .file import DatabaseFile
from .intake import Accept, Dispatch, Take
from .outcomes import Change, Complete, Renew
from .rows import claim_of, text_of
from .schema import connect
from .writer import Operation, Writer

ResultT = TypeVar("ResultT")

# What other processes write, and what falls due, is found this many seconds late at the most.
_LOOK_AGAIN = 0.5


class SQLiteInbox(Inbox):
    """Keeps deliveries in a SQLite file (write-ahead log, ``synchronous=FULL``).

    One thread writes; whatever waits at the same time shares one commit. Beside the file lie SQLite's own ``-wal``, of
    about 128 MiB at the most and less on a small disk, and ``-shm``, and one empty ``-owner-…`` for each open inbox.
    The disk must be local: SQLite's log does not work over a network.

    Args:
        path: the file; created readable and writable only by its owner. Its directory must exist.
        max_unfinished: how many deliveries may be waiting, running or scheduled; more are refused with ``InboxFull``.
        retention: seconds for which the key of a completed delivery is known.
        clock: returns the time in Unix seconds; all processes on the file must agree on it.
        busy_timeout: seconds to wait for other processes that write, before ``InboxUnavailable``.

    Raises:
        ConfigurationError: an argument is out of its range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_unfinished: int = 1_000_000,
        retention: float = RETENTION,
        clock: Callable[[], float] = time.time,
        busy_timeout: float = 2.0,
    ) -> None:
        if not str(path) or ":memory:" in str(path):
            raise ConfigurationError("SQLiteInbox needs the path of a file; for memory only, use MemoryInbox.")
        if max_unfinished < 1:
            raise ConfigurationError("max_unfinished must be at least 1.")
        if not 0 <= retention < math.inf:
            raise ConfigurationError("retention is a number of seconds, zero or more.")
        if not 0 <= busy_timeout < math.inf:
            raise ConfigurationError("busy_timeout is a number of seconds, zero or more.")
        self._path = Path(path).absolute()
        self._max_unfinished = max_unfinished
        self._retention = retention
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._file = DatabaseFile(self._path, busy_timeout=busy_timeout)
        self._writer: Writer | None = None
        # Counts what became ready; a claim or dispatch that left nothing behind notes the count at which it began.
        self._made_ready = 0
        self._looked_at = -1
        self._next_due = math.inf
        self._woken = anyio.Event()

    def __repr__(self) -> str:
        return f"SQLiteInbox({str(self._path)!r})"

    @property
    def path(self) -> Path:
        """The file, as an absolute path."""
        return self._path

    async def open(self) -> None:
        """Open the file: create or migrate it, and free what dead processes had claimed."""
        if self._writer is not None:
            return
        self._looked_at = -1
        self._next_due = math.inf
        self._woken = anyio.Event()
        self._readers = anyio.CapacityLimiter(2)
        writer = Writer(self._file, clock=self._clock, on_ready=self._wake)
        await writer.start()
        self._writer = writer

    async def close(self) -> None:
        """Finish what is being written and let go of the file; what is still claimed becomes free for others."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.stop()

    async def accept(
        self, notification: VerifiedNotification, *, key: str, group: str | None = None, trace: str | None = None
    ) -> bool:
        """Write a notification down, for good when this returns."""
        return await self._perform(Accept(notification, key, group, trace, self._max_unfinished))

    async def claim(self, limit: int, *, lease: float, ids: Sequence[str] | None = None) -> Sequence[Claim]:
        """Take deliveries that are ready."""
        began_at = self._made_ready
        if ids is not None and not ids:
            return []
        taken = await self._perform(Take(limit, lease, None if ids is None else tuple(ids)))
        if ids is None:
            # A full claim may have left something behind.
            self._looked_at = began_at if len(taken) < limit else -1
        return [claim_of(one) for one in taken]

    async def wait(self, timeout: float) -> None:
        """Return when there may be something to claim; twice a second also for what other processes wrote."""
        seconds = self._time_until_news(timeout)
        if not seconds:
            await anyio.lowlevel.checkpoint()
            return
        with time_limit(seconds):
            await self._woken.wait()

    async def claim_next(self, limit: int, *, lease: float, timeout: float) -> Sequence[Claim]:
        """Wait, and claim what comes in the transaction that accepts it."""
        if self._writer is None:
            raise InboxUnavailable("The inbox is not open.")
        seconds = self._time_until_news(timeout)
        if not seconds:
            await anyio.lowlevel.checkpoint()
            return []
        return [claim_of(one) for one in await self._writer.stand_by(Take(limit, lease, None), seconds) or ()]

    def _time_until_news(self, timeout: float) -> float:
        """Return how long to wait, unless something becomes ready here; nothing where it has already."""
        until_due = self._next_due - self._clock()
        if self._looked_at != self._made_ready or until_due <= 0:
            self._next_due = math.inf
            return 0.0
        return min(timeout, _LOOK_AGAIN, until_due)

    async def renew(self, claims: Sequence[Claim], *, lease: float) -> Sequence[Claim]:
        """Extend leases."""
        return await self._perform(Renew(claims, lease))

    async def mark(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Write down how far a run has come."""
        await self._perform(Change(claim, "done = ?, failures = ?", (text_of(done), text_of(failures))))

    async def complete(self, claim: Claim) -> None:
        """Keep the key, erase the payload."""
        await self._perform(Complete(claim))

    async def retry(self, claim: Claim, *, after: float, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Give the delivery back, for later."""
        values = (text_of(done), text_of(failures))
        await self._perform(Change(claim, "done = ?, failures = ?", values, after=after))
        self._next_due = min(self._next_due, self._clock() + after)

    async def release(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Give the delivery back, ready at once."""
        values = (text_of(done), text_of(failures))
        await self._perform(Change(claim, "attempt = attempt - 1, done = ?, failures = ?", values, after=0.0))

    async def bury(
        self,
        claim: Claim,
        *,
        handlers: tuple[str, ...],
        done: frozenset[str],
        failures: tuple[Failure, ...],
    ) -> None:
        """Put the delivery into the dead letters."""
        values = (text_of(handlers), text_of(done), text_of(failures))
        await self._perform(Change(claim, "handlers = ?, done = ?, failures = ?", values, ends=True))

    async def dispatch(self, limit: int, *, again_after: float) -> Sequence[str]:
        """Name deliveries that are ready."""
        began_at = self._made_ready
        names = await self._perform(Dispatch(limit, again_after))
        self._looked_at = began_at if len(names) < limit else -1
        return names

    async def list_dead(
        self, *, topic: str | None = None, handler: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters, the latest first."""
        which = Filter(id=None, topic=topic, handler=handler)
        return await self._read(lambda connection: list_dead(connection, which, limit=limit))

    async def get_dead(self, id: str) -> DeadLetter | None:
        """Return one dead letter."""
        which = Filter(id=id, topic=None, handler=None)
        found = await self._read(lambda connection: list_dead(connection, which, limit=1))
        return found[0] if found else None

    async def replay(self, *, id: str | None = None, topic: str | None = None, handler: str | None = None) -> int:
        """Make dead letters ready again."""
        walk = Filter(id=id, topic=topic, handler=handler)
        total = 0
        while replayed := await self._perform(Replay(walk)):
            total += replayed
        return total

    async def purge(
        self,
        *,
        id: str | None = None,
        topic: str | None = None,
        handler: str | None = None,
        older_than: float | None = None,
    ) -> int:
        """Forget dead letters."""
        walk = Filter(id=id, topic=topic, handler=handler, older_than=older_than or 0.0)
        total = 0
        while purged := await self._perform(Purge(walk)):
            total += purged
        return total

    async def forget(self, value: str) -> int:
        """Erase what mentions a value, a few at a time."""
        total, last = 0, 0
        while True:
            found, end = await self._read(partial(find_mentions, value=value, after=last))
            if found:
                total += await self._perform(Forget(found))
            if end is None:
                return total
            last = end

    async def stats(self) -> Stats:
        """Return how the inbox stands."""
        now = self._clock()
        return await self._read(lambda connection: read_stats(connection, now=now))

    async def tidy(self) -> None:
        """Forget old completed deliveries, free what dead processes hold, and shorten the file."""
        while await self._perform(Tidy(self._retention, self._file.owner)):
            pass

    def _wake(self) -> None:
        self._made_ready += 1
        self._woken.set()
        self._woken = anyio.Event()

    async def _perform(self, operation: Operation[ResultT]) -> ResultT:
        if self._writer is None:
            raise InboxUnavailable("The inbox is not open.")
        return await self._writer.perform(operation)

    async def _read(self, read: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Read from a connection of its own, in a thread of its own: large lists do not hold up what is written."""
        if self._writer is None:
            raise InboxUnavailable("The inbox is not open.")

        def run() -> ResultT:
            try:
                connection = connect(self._path, busy_timeout=self._busy_timeout, writable=False)
                try:
                    return read(connection)
                finally:
                    connection.close()
            except (sqlite3.Error, OSError) as error:
                raise self._file.unavailable(error) from None

        return await anyio.to_thread.run_sync(run, limiter=self._readers)
