"""How deliveries come into a SQLite inbox, and how they are taken up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ...errors import InboxFull
from .rows import Row
from .transaction import ROWS, Transaction, as_json, rows_of
from .writer import Operation

_INSERT = """
INSERT INTO delivery (seq, key, topic, state, at, first_seen, grp, created_at) VALUES {} ON CONFLICT (key) DO NOTHING
"""


_SELECT = """
SELECT seq, key, topic, attempt + 1, first_seen, lost, done, failures, content, trace
FROM delivery CROSS JOIN body USING (seq) WHERE state = 0
"""
_OLDEST = " ORDER BY named_until, seq LIMIT ?"
_OF_KEYS = " AND key IN (VALUES {})"
_LEASE = """
UPDATE delivery SET state = 1, at = ?, attempt = attempt + 1, fencing = seq + ?, owner = ?, lost = 0, named_until = 0
WHERE seq IN (SELECT value FROM json_each(?))
"""


class Accept(Operation[bool]):
    """Write a notification down; gives whether it is new.

    Args:
        row: key, topic, group, created_at.
        body: what is kept until it is completed.
        trace: the trace of the request, kept with the body.
        bound: how many unfinished deliveries there may be.
    """

    __slots__ = ("body", "bound", "row", "trace")
    rank = 4

    def __init__(self, row: tuple[str, str, str | None, int], body: bytes, trace: str | None, bound: int) -> None:
        self.row = row
        self.body = body
        self.trace = trace
        self.bound = bound

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Accept]) -> None:
        """Insert many in one statement."""
        for start in range(0, len(operations), ROWS):
            some = operations[start : start + ROWS]
            if transaction.unfinished + len(some) > some[0].bound:
                some = [accept for accept in some if accept._is_within_bound(transaction)]
            if some:
                cls._insert(transaction, some)

    def _is_within_bound(self, transaction: Transaction) -> bool:
        """Insert it alone where it has room; a copy of what is known needs none."""
        known = transaction.connection.execute("SELECT 1 FROM delivery WHERE key = ?", (self.row[0],)).fetchone()
        if known:
            self.result = False
        elif transaction.unfinished >= self.bound:
            self.error = InboxFull(f"The inbox holds {transaction.unfinished} unfinished deliveries, its bound.")
        else:
            self._insert(transaction, [self])
        return False

    @classmethod
    def _insert(cls, transaction: Transaction, operations: Sequence[Accept]) -> None:
        before, now = transaction.last_seq, transaction.now
        parameters: list[Any] = []
        for seq, operation in enumerate(operations, before + 1):
            key, topic, group, created_at = operation.row
            parameters += (seq, key, topic, 0 if group is None else 3, now, now, group, created_at)
        execute = transaction.connection.execute
        inserted = execute(rows_of(_INSERT, "(?, ?, ?, ?, ?, ?, ?, ?)", len(operations)), parameters).rowcount
        transaction.last_seq += len(operations)
        if inserted == len(operations):
            new = set(range(before + 1, transaction.last_seq + 1))
        else:
            new = {seq for (seq,) in execute("SELECT seq FROM delivery WHERE seq > ?", (before,)).fetchall()}
        bodies: list[Any] = []
        for seq, operation in enumerate(operations, before + 1):
            operation.result = seq in new
            if operation.result:
                bodies += (seq, operation.body, operation.trace)
                if operation.row[2] is not None:
                    transaction.groups.add(operation.row[2])
        if bodies:
            execute(rows_of("INSERT INTO body VALUES {}", "(?, ?, ?)", len(bodies) // 3), bodies)
            transaction.unfinished += inserted
            transaction.made_ready = True


class Take(Operation[Sequence[tuple[int, Row]]]):
    """Claim deliveries that are ready; gives a fencing number and what was read for each.

    Args:
        limit: at most so many.
        lease: seconds.
        keys: the only ones to take, or None.
    """

    __slots__ = ("keys", "lease", "limit")
    rank = 5

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
                operation.result, taken = taken[: operation.limit], taken[operation.limit :]

    @staticmethod
    def _take(
        transaction: Transaction, limit: int, lease: float, keys: tuple[str, ...] | None
    ) -> list[tuple[int, Row]]:
        execute = transaction.connection.execute
        rows: list[Row]
        if keys is None:
            rows = execute(_SELECT + _OLDEST, (limit,)).fetchall()
        else:
            rows = execute(rows_of(_SELECT + _OF_KEYS + _OLDEST, "(?)", len(keys)), (*keys, limit)).fetchall()
        if not rows:
            return []
        seqs = [row[0] for row in rows]
        lowest = min(seqs)
        offset = transaction.last_fencing + 1 - lowest
        execute(_LEASE, (transaction.now + lease, offset, transaction.owner, as_json(seqs)))
        transaction.last_fencing += 1 + max(seqs) - lowest
        return [(row[0] + offset, row) for row in rows]


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
