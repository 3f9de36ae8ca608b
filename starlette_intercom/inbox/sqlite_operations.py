"""What can happen to a delivery in a SQLite inbox: each kind of operation, performed for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec

from ..errors import InboxFull, LeaseLost
from ..notification import StoredNotification
from .contract import Claim, Delivery, Failure
from .sqlite_transaction import ROWS, Transaction, as_json, rows_of
from .sqlite_writer import Operation

Row = tuple[int, str, str, int, float, int, str | None, str | None, bytes]
"""What is read of a claimed delivery: seq, key, topic, attempt, first_seen, lost, done, failures, body."""

_INSERT = """
INSERT INTO delivery (seq, key, topic, state, at, first_seen, grp, created_at) VALUES {} ON CONFLICT (key) DO NOTHING
"""
_OF_SHOWN = "FROM shown WHERE delivery.key = shown.key AND delivery.fencing = shown.fencing AND "
_COMPLETE = (
    "WITH shown (key, fencing) AS (VALUES {}) "
    "UPDATE delivery SET state = 5, at = ?, lost = 0, done = NULL, failures = NULL "
    + _OF_SHOWN
    + "(state = 1 OR lost) RETURNING delivery.fencing, seq, grp"
)
_RENEW = (
    "WITH shown (key, fencing) AS (VALUES {}) UPDATE delivery SET at = ?, owner = ? "
    + _OF_SHOWN
    + "state = 1 RETURNING delivery.fencing"
)
# A lease that ran out, of a delivery that nobody has claimed since: taken up again, unless another of its group runs.
_LATE = """
SELECT seq, grp FROM delivery WHERE key = ? AND fencing = ? AND lost AND NOT EXISTS (
    SELECT 1 FROM delivery AS other
    WHERE other.grp = delivery.grp AND other.grp IS NOT NULL AND other.state < 3 AND other.state = 1
)
"""
_SELECT = """
SELECT seq, key, topic, attempt + 1, first_seen, lost, done, failures, content
FROM delivery CROSS JOIN body USING (seq) WHERE state = 0
"""
_OLDEST = " ORDER BY named_until, seq LIMIT ?"
_OF_KEYS = " AND key IN (VALUES {})"
_LEASE = """
UPDATE delivery SET state = 1, at = ?, attempt = attempt + 1, fencing = seq + ?, owner = ?, lost = 0, named_until = 0
WHERE seq IN (SELECT value FROM json_each(?))
"""


class Change(Operation[None]):
    """Change one claimed delivery: note how far it came, give it back, or bury it.

    Args:
        claim: shows the lease.
        assignments: what to set in the row, as SQL.
        values: parameters of the assignments.
        after: where the delivery goes back: seconds until it is ready.
        ends: the delivery is no longer unfinished.
    """

    __slots__ = ("after", "assignments", "claim", "ends", "values")
    rank = 1

    def __init__(
        self,
        claim: Claim,
        assignments: str,
        values: tuple[str | int | None, ...],
        *,
        after: float | None = None,
        ends: bool = False,
    ) -> None:
        self.claim = claim
        self.assignments = assignments
        self.values = values
        self.after = after
        self.ends = ends

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Change]) -> None:
        """Change one after the other: each has its own values."""
        for change in operations:
            assignments, at = change.assignments, []
            if change.ends:
                assignments, at = f"state = 4, at = ?, lost = 0, {assignments}", [transaction.now]
            elif change.after is not None:
                # One of a group lines up again behind those that were created before it.
                assignments = f"state = CASE WHEN grp IS NULL THEN 2 ELSE 3 END, at = ?, lost = 0, {assignments}"
                at = [transaction.now + change.after]
            delivery = change.claim.delivery
            rows = transaction.connection.execute(
                "UPDATE delivery SET "
                + assignments
                + " WHERE key = ? AND fencing = ? AND (state = 1 OR lost) RETURNING grp",
                (*at, *change.values, delivery.id, delivery.fencing),
            ).fetchall()
            if not rows:
                change.error = lease_lost(change.claim)
                continue
            change.result = None
            if at:
                transaction.touch(rows)
                transaction.unfinished -= change.ends
                transaction.made_ready = transaction.made_ready or not change.ends


class Complete(Operation[None]):
    """Complete a claimed delivery."""

    __slots__ = ("claim",)
    rank = 2

    def __init__(self, claim: Claim) -> None:
        self.claim = claim

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Complete]) -> None:
        """Complete many in one statement."""
        completed: set[int] = set()
        for start in range(0, len(operations), ROWS):
            some = operations[start : start + ROWS]
            shown = _shown([operation.claim for operation in some])
            rows = transaction.connection.execute(
                rows_of(_COMPLETE, "(?, ?)", len(some)), [*shown, transaction.now]
            ).fetchall()
            completed.update(row[0] for row in rows)
            transaction.groups.update(row[2] for row in rows if row[2] is not None)
            transaction.unfinished -= len(rows)
            delete_bodies(transaction, [row[1] for row in rows])
        for operation in operations:
            if operation.claim.delivery.fencing in completed:
                completed.remove(operation.claim.delivery.fencing)  # for one, if it was asked for twice
                operation.result = None
            else:
                operation.error = lease_lost(operation.claim)


class Renew(Operation[Sequence[Claim]]):
    """Extend leases; gives the claims that are lost."""

    __slots__ = ("claims", "lease")
    rank = 3

    def __init__(self, claims: Sequence[Claim], lease: float) -> None:
        self.claims = claims
        self.lease = lease

    @classmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Renew]) -> None:
        """Extend the leases of each call in one statement."""
        for renew in operations:
            kept: set[int] = set()
            for start in range(0, len(renew.claims), ROWS):
                some = renew.claims[start : start + ROWS]
                parameters = [*_shown(some), transaction.now + renew.lease, transaction.owner]
                kept.update(
                    fencing
                    for (fencing,) in transaction.connection.execute(
                        rows_of(_RENEW, "(?, ?)", len(some)), parameters
                    ).fetchall()
                )
            renew.result = [
                claim
                for claim in renew.claims
                if claim.delivery.fencing not in kept and not cls._renew_late(transaction, claim, renew.lease)
            ]

    @staticmethod
    def _renew_late(transaction: Transaction, claim: Claim, lease: float) -> bool:
        execute = transaction.connection.execute
        row = execute(_LATE, (claim.delivery.id, claim.delivery.fencing)).fetchone()
        if row is None:
            return False
        seq, group = row
        if group is not None:
            execute("UPDATE delivery SET state = 3 WHERE grp = ? AND grp IS NOT NULL AND state < 3", (group,))
        execute(
            "UPDATE delivery SET state = 1, lost = 0, at = ?, owner = ? WHERE seq = ?",
            (transaction.now + lease, transaction.owner, seq),
        )
        return True


class Accept(Operation[bool]):
    """Write a notification down; gives whether it is new.

    Args:
        row: key, topic, group, created_at.
        body: what is kept until it is completed.
        bound: how many unfinished deliveries there may be.
    """

    __slots__ = ("body", "bound", "row")
    rank = 4

    def __init__(self, row: tuple[str, str, str | None, int], body: bytes, bound: int) -> None:
        self.row = row
        self.body = body
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
                bodies += (seq, operation.body)
                if operation.row[2] is not None:
                    transaction.groups.add(operation.row[2])
        if bodies:
            execute(rows_of("INSERT INTO body VALUES {}", "(?, ?)", len(bodies) // 2), bodies)
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


def claim_of(fencing: int, row: Row) -> Claim:
    """Make a claim of what was read."""
    _, key, topic, attempt, first_seen, lost, done, failures, body = row
    return Claim(
        delivery=Delivery(id=key, topic=topic, attempt=attempt, first_seen=first_seen, fencing=fencing),
        notification=StoredNotification.read(body),
        done=names_of(done),
        failures=failures_of(failures),
        recovered=bool(lost),
    )


def lease_lost(claim: Claim) -> LeaseLost:
    """Return the error for a claim that is not the current one."""
    return LeaseLost(f"The lease of {claim.delivery.id} is lost: another run owns it, or it has ended.")


def delete_bodies(transaction: Transaction, seqs: list[int]) -> None:
    """Erase what Intercom sent."""
    transaction.connection.execute("DELETE FROM body WHERE seq IN (SELECT value FROM json_each(?))", (as_json(seqs),))


def text_of(value: frozenset[str] | tuple[str, ...] | tuple[Failure, ...]) -> str | None:
    """Return what is kept of names or failures; nothing where there are none."""
    return msgspec.json.encode(value).decode() if value else None


def names_of(text: str | None) -> frozenset[str]:
    """Read names back."""
    return frozenset(msgspec.json.decode(text, type=list[str])) if text else frozenset()


def failures_of(text: str | None) -> tuple[Failure, ...]:
    """Read failures back."""
    return _decode_failures(text) if text else ()


_decode_failures = msgspec.json.Decoder(tuple[Failure, ...]).decode


def _shown(claims: Sequence[Claim]) -> list[Any]:
    parameters: list[Any] = []
    for claim in claims:
        parameters += (claim.delivery.id, claim.delivery.fencing)
    return parameters
