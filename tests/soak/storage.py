"""The inbox under test: where it is, what can happen to it, and what it takes."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.redis_process import RedisProcess

from .trouble import Outages, outages_of_redis, outages_of_sqlite
from .watch import Storage

_MIB = 2**20


@dataclass(frozen=True)
class Place:
    """An inbox.

    Attributes:
        where: what the app makes its inbox of.
        outages: what can happen to it.
        storage: tells what it takes.
        file: the SQLite file, which has the outbox, too; None where the outbox is in memory.
    """

    where: str
    outages: Outages
    storage: Storage
    file: Path | None

    def outbox(self) -> set[str]:
        """Return the ids of the contacts of all events that still wait."""
        if self.file is None:
            return set()
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            return {json.loads(body)["user_id"] for (body,) in connection.execute("SELECT body FROM events_outbox")}


@contextlib.contextmanager
def sqlite_place(folder: Path) -> Iterator[Place]:
    """A file."""
    file = folder / "inbox.db"
    parts = {"file": file, "log": folder / "inbox.db-wal"}

    def storage() -> Mapping[str, float] | None:
        return {name: part.stat().st_size / _MIB for name, part in parts.items() if part.exists()}

    yield Place(str(file), outages_of_sqlite(file), storage, file)


@contextlib.contextmanager
def redis_place(folder: Path) -> Iterator[Place]:
    """A Redis server of our own."""
    with RedisProcess(folder) as server:

        def storage() -> Mapping[str, float] | None:
            try:
                with redis.Redis(port=server.port, socket_timeout=1) as client:
                    return {"Redis": client.info("memory")["used_memory"] / _MIB}
            except redis.RedisError:
                return None

        yield Place(server.url, outages_of_redis(server), storage, None)


PLACES = {"sqlite": sqlite_place, "redis": redis_place}
