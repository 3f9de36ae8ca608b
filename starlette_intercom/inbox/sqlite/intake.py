"""How deliveries come into a SQLite inbox, and how they are taken up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ...errors import InboxFull
from ...notification import VerifiedNotification
from .rows import Row, Taken
from .transaction import ROWS, Transaction, Wanted, as_json, rows_of
from .writer import Operation

_INSERT = """
INSERT INTO delivery (seq, key, topic, state, at, first_seen, grp, created_at, attempt, fencing, owner) VALUES {}
"""
_SELECT = """
SELECT seq, key, topic, attempt + 1, first_seen, lost, done, failures, content, trace
FROM delivery CROSS JOIN body USING (seq) WHERE state = 0
"""
_OLDEST = " ORDER BY named_until, seq LIMIT ?"
_OF_SEQS = " AND seq IN (SELECT value FROM json_each(?))"
_LEASE = """
UPDATE delivery SET state = 1, at = ?, attempt = attempt + 1, fencing = seq + ?, owner = ?, lost = 0, named_until = 0
WHERE seq IN (SELECT value FROM json_each(?))
"""


class Take(Operation[Sequence[Taken]]):
    """Claim deliveries that are ready; those of a transaction that also accepts may get what is new in it.

    Args:
        limit: at most so many.
        lease: seconds.
        keys: the only ones to take, or None.
    """

    __slots__ = ("keys", "lease", "limit")
    rank = 4

    def __init__(self, limit: int, lease: float, keys: tuple[str, ...] | None) -> None:
        self.limit = limit
        self.lease = lease
        self.keys = keys

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Take]) -> None:
        """Claim for all callers together, and share out what was found."""
        transaction.settle()
        transaction.reap()
        for (lease, keys), equal in groupby(operations, key=lambda operation: (operation.lease, operation.keys)):
            together = list(equal)
            taken = cls._take(transaction, sum(operation.limit for operation in together), lease, keys)
            for operation in together:
                mine, taken = taken[: operation.limit], taken[operation.limit :]
                operation.result = mine
                if keys is None and len(mine) < operation.limit:
                    transaction.wanted.append(Wanted(operation.limit - len(mine), lease, mine))

    @classmethod
    def take_more(cls, transaction: Transaction) -> None:
        """Settle the groups of what was accepted, and claim those that may go for whoever still wants some."""
        before = transaction.made_ready
        transaction.settle()
        for wanted in transaction.wanted:
            taken = cls._take(transaction, wanted.left, wanted.lease, None)
            wanted.taken += taken
            if len(taken) < wanted.left:
                transaction.made_ready = before  # none is left
                break

    @staticmethod
    def _take(transaction: Transaction, limit: int, lease: float, keys: tuple[str, ...] | None) -> list[Taken]:
        execute = transaction.connection.execute
        rows: list[Row]
        if keys is None:
            rows = execute(_SELECT + _OLDEST, (limit,)).fetchall()
        else:
            seqs = list(transaction.keys.find(transaction.connection, keys).values())
            rows = execute(_SELECT + _OF_SEQS + _OLDEST, (as_json(seqs), limit)).fetchall()
        if not rows:
            return []
        seqs = [row[0] for row in rows]
        lowest = min(seqs)
        offset = transaction.last_fencing + 1 - lowest
        execute(_LEASE, (transaction.now + lease, offset, transaction.owner, as_json(seqs)))
        transaction.last_fencing += 1 + max(seqs) - lowest
        return [(row[0] + offset, row) for row in rows]


class Accept(Operation[bool]):
    """Write a notification down; gives whether it is new.

    Args:
        notification: what is kept until it is completed.
        key: its identity.
        group: see :meth:`Inbox.accept`.
        trace: the trace of the request, kept with the body.
        bound: how many unfinished deliveries there may be.
    """

    __slots__ = ("bound", "group", "key", "notification", "trace")
    rank = 5
    calls_up = True

    def __init__(
        self, notification: VerifiedNotification, key: str, group: str | None, trace: str | None, bound: int
    ) -> None:
        self.notification = notification
        self.key = key
        self.group = group
        self.trace = trace
        self.bound = bound

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Accept]) -> None:
        """Insert many in one statement."""
        known = cls._known(transaction, operations)
        new: list[Accept] = []
        for accept in operations:
            if accept.key in known:
                accept.result = False
            elif transaction.unfinished + len(new) >= accept.bound:
                unfinished = transaction.unfinished + len(new)
                accept.error = InboxFull(f"The inbox holds {unfinished} unfinished deliveries, its bound.")
            else:
                known.add(accept.key)
                new.append(accept)
                accept.result = True
        for start in range(0, len(new), ROWS):
            cls._insert(transaction, new[start : start + ROWS])
        if transaction.groups:
            Take.take_more(transaction)

    @staticmethod
    def _known(transaction: Transaction, operations: Sequence[Accept]) -> set[str]:
        """Return those of the keys that are in the file."""
        execute = transaction.connection.execute
        found = transaction.keys.find(transaction.connection, [accept.key for accept in operations])
        if not found:
            return set()
        still_there = "SELECT key FROM delivery WHERE seq IN (SELECT value FROM json_each(?))"
        return {key for (key,) in execute(still_there, (as_json(list(found.values())),))}

    @staticmethod
    def _insert(transaction: Transaction, operations: Sequence[Accept]) -> None:
        now, wanted = transaction.now, transaction.wanted
        deliveries: list[Any] = []
        bodies: list[Any] = []
        for seq, accept in enumerate(operations, transaction.last_seq + 1):
            key, group, notification = accept.key, accept.group, accept.notification
            topic = notification.topic
            state, at, attempt, fencing, owner = 0, now, 0, 0, 0
            if group is not None:
                state = 3
                transaction.groups.add(group)
            elif wanted:
                claim = wanted[0]
                fencing = transaction.last_fencing = transaction.last_fencing + 1
                state, at, attempt, owner = 1, now + claim.lease, 1, transaction.owner
                claim.taken.append((fencing, (seq, key, topic, 1, now, 0, None, None, notification, accept.trace)))
                claim.left -= 1
                if not claim.left:
                    del wanted[0]
            else:
                transaction.made_ready = True
            created_at = notification.created_at
            deliveries += (seq, key, topic, state, at, now, group, created_at, attempt, fencing, owner)
            bodies += (seq, notification.raw, accept.trace)
            transaction.keys.add(key, seq)
        count = len(operations)
        transaction.connection.execute(rows_of(_INSERT, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", count), deliveries)
        transaction.connection.execute(rows_of("INSERT INTO body VALUES {}", "(?, ?, ?)", count), bodies)
        transaction.last_seq += count
        transaction.unfinished += count


class Dispatch(Operation[Sequence[str]]):
    """Name deliveries that are ready; gives their ids."""

    __slots__ = ("again_after", "limit")
    rank = 6

    def __init__(self, limit: int, again_after: float) -> None:
        self.limit = limit
        self.again_after = again_after

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Dispatch]) -> None:
        """Name for one caller after the other."""
        transaction.settle()
        transaction.reap()
        execute = transaction.connection.execute
        for dispatch in operations:
            rows = execute(
                "SELECT seq, key FROM delivery WHERE state = 0 AND named_until <= ? ORDER BY named_until, seq LIMIT ?",
                (transaction.now, dispatch.limit),
            ).fetchall()
            execute(
                "UPDATE delivery SET named_until = ? WHERE seq IN (SELECT value FROM json_each(?))",
                (transaction.now + dispatch.again_after, as_json([seq for seq, _ in rows])),
            )
            dispatch.result = [key for _, key in rows]
