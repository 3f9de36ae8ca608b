"""The outbox in an SQLite file: survives a crash, and may be shared by the processes of one host."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from ..errors import ConfigurationError, OutboxFull
from .outbox import LEASE, OutboxEntry, check_bound

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body BLOB NOT NULL,
    leased_until REAL NOT NULL DEFAULT 0
)
"""

# A lease that is longer than any lease was made before the clock was set back.
_LOOK = "SELECT 1 FROM events_outbox WHERE leased_until <= ? OR leased_until > ? LIMIT 1"
_TAKE = "SELECT id, body FROM events_outbox WHERE leased_until <= ? OR leased_until > ? ORDER BY id LIMIT ?"


class SQLiteOutbox:
    """An outbox in the table ``events_outbox`` of an SQLite file, which may hold other tables.

    What `put` has kept has been written through to the disk. The file must be on a local disk.

    Args:
        path: the file; made if it does not exist, but its folder is not.
        max_events: how many events it holds at most.
        busy_timeout: seconds to wait while another process writes.
        clock: tells the time in seconds; the same for all processes that share the file.

    Raises:
        ConfigurationError: the path is no file's, or the bound is too small.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        max_events: int = 1_000_000,
        busy_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_bound(max_events)
        self._path = fspath(path)
        if not self._path or self._path.startswith(":memory:"):
            raise ConfigurationError("SQLiteOutbox takes the path of a file; use MemoryOutbox for memory.")
        self._max_events = max_events
        self._busy_timeout = busy_timeout
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file and make the table.

        Raises:
            ConfigurationError: the file cannot be opened.
        """
        # Threads of our own: those that everybody shares may all be busy with the app's plain functions. One at a time,
        # since there is one connection.
        self._thread = anyio.CapacityLimiter(1)
        self._connection = await anyio.to_thread.run_sync(self._connect, limiter=self._thread)

    async def put(self, bodies: Sequence[bytes]) -> None:
        """Keep events; all of them or none. They are on the disk when this returns.

        Raises:
            OutboxFull: they would be more than ``max_events``.
        """
        await self._run(self._put, bodies)

    async def take(self, limit: int) -> list[OutboxEntry]:
        """Lease the oldest entries that nobody has leased, at most ``limit``."""
        return await self._run(self._take, limit)

    async def done(self, ids: Sequence[int]) -> None:
        """Forget entries."""
        await self._run(self._for_each, "DELETE FROM events_outbox WHERE id = ?", ids)

    async def release(self, ids: Sequence[int]) -> None:
        """Give entries back before their lease is over."""
        await self._run(self._for_each, "UPDATE events_outbox SET leased_until = 0 WHERE id = ?", ids)

    async def count(self) -> int:
        """Tell how many entries there are."""
        return await self._run(self._count)

    async def aclose(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(connection.close, limiter=self._thread)

    async def _run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        # Once the thread has begun it is waited for, also when we are cancelled: whether a commit happened is known.
        return await anyio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._thread)

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise ConfigurationError(f"The events outbox cannot be opened: {error}. Does its folder exist?") from error
        return connection

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise ConfigurationError("The events outbox is not open.")
        return self._connection

    def _put(self, bodies: Sequence[bytes]) -> None:
        connection = self._opened()
        with _transaction(connection):
            if self._count() + len(bodies) > self._max_events:
                raise OutboxFull(f"{self._max_events} events wait to be sent")
            connection.executemany("INSERT INTO events_outbox (body) VALUES (?)", [(body,) for body in bodies])

    def _take(self, limit: int) -> list[OutboxEntry]:
        connection, now = self._opened(), self._clock()
        bounds = (now, now + LEASE)
        # A look before the lock: most of the time there is nothing.
        if connection.execute(_LOOK, bounds).fetchone() is None:
            return []
        with _transaction(connection):
            rows = connection.execute(_TAKE, (*bounds, limit)).fetchall()
            connection.executemany(
                "UPDATE events_outbox SET leased_until = ? WHERE id = ?", [(now + LEASE, id_) for id_, _ in rows]
            )
        return [OutboxEntry(id_, body) for id_, body in rows]

    def _for_each(self, statement: str, ids: Sequence[int]) -> None:
        connection = self._opened()
        with _transaction(connection):
            connection.executemany(statement, [(id_,) for id_ in ids])

    def _count(self) -> int:
        count: int = self._opened().execute("SELECT count(*) FROM events_outbox").fetchone()[0]
        return count


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock from the start, so that a transaction never has to wait halfway."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
