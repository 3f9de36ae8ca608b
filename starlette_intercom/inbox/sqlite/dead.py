"""Dead letters, statistics and retention of a SQLite inbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from ...notification import StoredNotification
from ..contract import DeadLetter, Stats
from .keys import MAY_HAVE_KEY, parameters_for
from .owners import Owner
from .rows import failures_of, names_of
from .schema import State
from .transaction import Transaction, as_json
from .writer import Operation

# So many rows change in one transaction at the most, so that requests do not wait long behind them.
CHUNK = 500

# Free pages are used again. Only a file that is mostly empty, and not small, is made shorter.
_SPARE_PAGES = 250
_VACUUM_PAGES = 125

_REVIVE = """
UPDATE delivery SET state = CASE WHEN grp IS NULL THEN 0 ELSE 3 END, at = ?, attempt = 0, lost = 0, named_until = 0,
failures = NULL, handlers = NULL WHERE seq IN (SELECT value FROM json_each(?))
"""
_FORGET = """
UPDATE delivery SET state = 5, at = ?, lost = 0, done = NULL, failures = NULL, handlers = NULL
WHERE seq IN (SELECT value FROM json_each(?))
"""
_STATS = """
SELECT
    (SELECT count(*) FROM delivery WHERE state = 0),
    (SELECT count(*) FROM delivery WHERE state = 3 AND at <= :now),
    (SELECT count(*) FROM delivery WHERE state = 3 AND at > :now),
    (SELECT count(*) FROM delivery WHERE state IN (1, 2) AND at <= :now),
    (SELECT count(*) FROM delivery WHERE state IN (1, 2) AND at > :now AND state = 1),
    (SELECT count(*) FROM delivery WHERE state IN (1, 2) AND at > :now AND state = 2),
    (SELECT count(*) FROM delivery WHERE state >= 4 AND state = 4),
    (SELECT count(*) FROM delivery WHERE state >= 4 AND state = 5),
    min(
        ifnull((SELECT min(at) FROM delivery WHERE state = 0), :now),
        ifnull((SELECT min(at) FROM delivery WHERE state IN (1, 2)), :now)
    )
"""


class Filter:
    """Which dead letters, and where in their row a walk over them stands.

    Args:
        id: only this one.
        topic: only of this topic.
        handler: only those in which this handler failed for good.
        older_than: only those that died at least so many seconds ago.
    """

    __slots__ = ("at", "condition", "older_than", "parameters", "seq", "until")

    def __init__(self, *, id: str | None, topic: str | None, handler: str | None, older_than: float = 0.0) -> None:
        self.condition = "state >= 4 AND state = 4"  # the first half is what the index is about
        if id is not None:
            # The plus keeps the search away from the index of the dead: there may be very many.
            self.condition = f"+state = 4 AND key = :id AND {MAY_HAVE_KEY}"
        if topic is not None:
            self.condition += " AND topic = :topic"
        if handler is not None:
            self.condition += " AND EXISTS (SELECT 1 FROM json_each(delivery.handlers) WHERE value = :handler)"
        self.parameters: dict[str, str | float | None] = {"id": id, "topic": topic, "handler": handler}
        if id is not None:
            self.parameters.update(parameters_for(id))
        self.older_than = older_than
        self.until: float | None = None
        self.at = 0.0
        self.seq = 0

    def next_rows(self, transaction: Transaction) -> list[tuple[int, float, str | None]]:
        """Return seq, died at and group of the next dead letters, of those that were dead when the walk began."""
        if self.until is None:
            self.until = transaction.now - self.older_than
        rows: list[tuple[int, float, str | None]] = transaction.connection.execute(
            f"SELECT seq, at, grp FROM delivery WHERE {self.condition} "  # noqa: S608 - our own SQL
            f"AND at <= :until AND (at, seq) > (:at, :seq) ORDER BY at, seq LIMIT {CHUNK}",
            {**self.parameters, "until": self.until, "at": self.at, "seq": self.seq},
        ).fetchall()
        if rows:
            self.seq, self.at, _ = rows[-1]
        return rows


class Replay(Operation[int]):
    """Make the next dead letters of a walk ready again; gives how many, 0 at its end."""

    __slots__ = ("filter",)
    rank = 0

    def __init__(self, filter: Filter) -> None:
        self.filter = filter

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Replay]) -> None:
        """Revive the next chunk of each walk."""
        for replay in operations:
            rows = replay.filter.next_rows(transaction)
            transaction.connection.execute(_REVIVE, (transaction.now, as_json([row[0] for row in rows])))
            transaction.unfinished += len(rows)
            transaction.made_ready = transaction.made_ready or bool(rows)
            transaction.touch([(group,) for _, _, group in rows])
            replay.result = len(rows)


class Purge(Operation[int]):
    """Forget the next dead letters of a walk; gives how many, 0 at its end."""

    __slots__ = ("filter",)
    rank = 7

    def __init__(self, filter: Filter) -> None:
        self.filter = filter

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Purge]) -> None:
        """Delete the next chunk of each walk."""
        for purge in operations:
            seqs = [row[0] for row in purge.filter.next_rows(transaction)]
            _forget(transaction, seqs)
            transaction.delete_bodies(seqs)
            purge.result = len(seqs)


class Forget(Operation[int]):
    """Erase deliveries whatever their state, and keep their keys; gives how many were not completed.

    Args:
        seqs: which.
    """

    __slots__ = ("seqs",)
    rank = 9

    def __init__(self, seqs: list[int]) -> None:
        self.seqs = seqs

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Forget]) -> None:
        """Erase for one caller after the other."""
        for forget in operations:
            rows = transaction.connection.execute(
                "SELECT seq, state, grp FROM delivery WHERE state <> 5 AND seq IN (SELECT value FROM json_each(?))",
                (as_json(forget.seqs),),
            ).fetchall()
            seqs = [seq for seq, _, _ in rows]
            transaction.connection.execute(_FORGET, (transaction.now, as_json(seqs)))
            transaction.delete_bodies(seqs)
            transaction.unfinished -= sum(state < State.DEAD for _, state, _ in rows)
            transaction.touch([(group,) for _, _, group in rows])
            forget.result = len(rows)


class Tidy(Operation[bool]):
    """Free what dead processes hold, forget completed deliveries, shorten the file; gives whether there is more to do.

    Args:
        retention: seconds for which completed deliveries are known.
        owner: the inbox, among those on the file.
    """

    __slots__ = ("owner", "retention")
    rank = 8

    def __init__(self, retention: float, owner: Owner) -> None:
        self.retention = retention
        self.owner = owner

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Tidy]) -> None:
        """Do one chunk of each kind of work."""
        connection = transaction.connection
        for tidy in operations:
            freed = tidy.owner.free_claims_of_dead(connection, now=transaction.now)
            transaction.made_ready = transaction.made_ready or freed
            rows = connection.execute(
                "SELECT seq FROM delivery WHERE state >= 4 AND state = 5 AND at <= ? LIMIT ?",
                (transaction.now - tidy.retention, CHUNK),
            ).fetchall()
            _forget(transaction, [seq for (seq,) in rows])
            spare = connection.execute("PRAGMA freelist_count").fetchone()[0]
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            wasteful = spare > _SPARE_PAGES and spare * 2 > pages
            if wasteful:
                connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
            tidy.result = wasteful or len(rows) == CHUNK


def list_dead(connection: sqlite3.Connection, which: Filter, *, limit: int) -> list[DeadLetter]:
    """Read dead letters, the latest first."""
    rows = connection.execute(
        "SELECT key, topic, content, handlers, done, failures, attempt, first_seen, at FROM delivery "  # noqa: S608
        f"CROSS JOIN body USING (seq) WHERE {which.condition} ORDER BY at DESC, seq DESC LIMIT :limit",
        {**which.parameters, "limit": limit},
    )
    return [
        DeadLetter(
            id=key,
            topic=its_topic,
            notification=StoredNotification.read(body),
            handlers=tuple(msgspec.json.decode(handlers, type=list[str])) if handlers else (),
            done=names_of(done),
            failures=failures_of(failures),
            attempts=attempts,
            first_seen=first_seen,
            died_at=died_at,
        )
        for key, its_topic, body, handlers, done, failures, attempts, first_seen, died_at in rows
    ]


def find_mentions(connection: sqlite3.Connection, value: str, *, after: int) -> tuple[list[int], int | None]:
    """Look through the next bodies for a value.

    Args:
        connection: for reading.
        value: what to look for.
        after: look at what was accepted after this one.

    Returns:
        Which mention it, and the last that was looked at; None at the end.
    """
    rows = connection.execute(
        "SELECT seq, content FROM body WHERE seq > ? ORDER BY seq LIMIT ?", (after, CHUNK)
    ).fetchall()
    found = [seq for seq, content in rows if StoredNotification.read(content).mentions(value)]
    return found, rows[-1][0] if rows else None


def read_stats(connection: sqlite3.Connection, *, now: float) -> Stats:
    """Count."""
    row = connection.execute(_STATS, {"now": now}).fetchone()
    ready, held, held_back, due, running, scheduled, dead, done, oldest = row
    return Stats(
        waiting=ready + held + due,
        running=running,
        scheduled=scheduled + held_back,
        dead=dead,
        done=done,
        oldest_waiting=max(0.0, now - oldest),
    )


def _forget(transaction: Transaction, seqs: list[int]) -> None:
    rows = transaction.connection.execute(
        "DELETE FROM delivery WHERE seq IN (SELECT value FROM json_each(?)) RETURNING key, seq", (as_json(seqs),)
    ).fetchall()
    transaction.keys.remove(transaction.connection, rows)
