"""One transaction of a SQLite inbox: what its operations share."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from .keys import Keys
from .rows import Taken

# So many become ready in one transaction at the most: an outage that ends makes very many due at once.
_REAP_AT_ONCE = 1000

ROWS = 64
"""Rows of one statement: more would gain little, and each number of rows is a statement that SQLite keeps."""

_DEMOTE = """
WITH named (value) AS (VALUES {}) UPDATE delivery SET state = 3
WHERE grp IS NOT NULL AND state < 3 AND state <> 1 AND grp IN (SELECT value FROM named)
"""
_PROMOTE = """
WITH named (value) AS (VALUES {}) UPDATE delivery SET state = CASE WHEN at > ? THEN 2 ELSE 0 END
WHERE seq IN (
    SELECT (SELECT seq FROM delivery WHERE grp = named.value AND state = 3 ORDER BY created_at, seq LIMIT 1)
    FROM named WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE grp = named.value AND grp IS NOT NULL AND state < 3)
)
"""
_REAP = """
UPDATE delivery SET lost = (state = 1), state = CASE WHEN grp IS NULL THEN 0 ELSE 3 END
WHERE seq IN (SELECT seq FROM delivery WHERE state IN (1, 2) AND at <= ? ORDER BY at LIMIT ?)
RETURNING grp
"""
_COUNT = "UPDATE counter SET seq = ?, fencing = ?, unfinished = ?, indexed = ?, deleted = ?"


@dataclass(slots=True)
class Wanted:
    """What a claim still wants, where nothing that waits is left for it.

    Attributes:
        left: so many more deliveries at the most.
        lease: seconds.
        taken: where to put them.
    """

    left: int
    lease: float
    taken: list[Taken]


class Transaction:
    """What operations that share a transaction need, and what they change together.

    Args:
        connection: in a transaction.
        now: the time, in Unix seconds.
        owner: the number that claims are marked with.
        keys: the keys of the file, as the connection knows them.

    Attributes:
        last_seq: the highest order of arrival so far.
        last_fencing: the highest fencing number so far.
        unfinished: how many deliveries are waiting, running or scheduled.
        groups: those in which something has changed, and which are not settled yet.
        made_ready: whether a claim may find something new after this.
        wanted: by claims of this transaction, of what becomes ready in it.
    """

    def __init__(self, connection: sqlite3.Connection, *, now: float, owner: int, keys: Keys) -> None:
        self.connection = connection
        self.now = now
        self.owner = owner
        self.keys = keys
        self.groups: set[str] = set()
        self.made_ready = False
        self.wanted: list[Wanted] = []
        self._reaped = False
        row = connection.execute("SELECT seq, fencing, unfinished, indexed, deleted FROM counter").fetchone()
        self._before: tuple[int, ...] = row
        self.last_seq, self.last_fencing, self.unfinished, indexed, deleted = row
        keys.catch_up(connection, indexed=indexed, deleted=deleted, seq=self.last_seq)

    def settle(self) -> None:
        """Let the first of each changed group go, unless one of the group runs."""
        if not self.groups:
            return
        names = sorted(self.groups)
        self.groups.clear()
        for start in range(0, len(names), ROWS):
            some = names[start : start + ROWS]
            self.connection.execute(rows_of(_DEMOTE, "(?)", len(some)), some)
            promoted = self.connection.execute(rows_of(_PROMOTE, "(?)", len(some)), (*some, self.now)).rowcount
            self.made_ready = self.made_ready or promoted > 0

    def reap(self) -> None:
        """Make ready what is due, and what was claimed under a lease that ran out. Does it once."""
        if self._reaped:
            return
        self._reaped = True
        self.touch(self.connection.execute(_REAP, (self.now, _REAP_AT_ONCE)).fetchall())
        self.settle()

    def touch(self, rows: list[tuple[str | None]]) -> None:
        """Note the groups, if any, of rows that changed."""
        self.groups.update(group for (group,) in rows if group is not None)

    def delete_bodies(self, seqs: list[int]) -> None:
        """Erase what Intercom sent."""
        self.connection.execute("DELETE FROM body WHERE seq IN (SELECT value FROM json_each(?))", (as_json(seqs),))

    def end(self) -> None:
        """Do what is left to be done before the commit."""
        self.settle()
        indexed = self.keys.index(self.connection)
        counters = (self.last_seq, self.last_fencing, self.unfinished, indexed, self.keys.deleted)
        if counters != self._before:
            self.connection.execute(_COUNT, counters)


def as_json(values: list[int]) -> str:
    """Return a JSON array for ``json_each``: numbers, as many as there are, in one parameter."""
    return msgspec.json.encode(values).decode()


@lru_cache(maxsize=512)
def rows_of(template: str, row: str, count: int) -> str:
    """Return the SQL for ``count`` rows at once: far cheaper than as many statements."""
    return template.format(", ".join([row] * count))
