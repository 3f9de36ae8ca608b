"""What becomes of a claimed delivery in a SQLite inbox: every change that needs its lease."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...errors import LeaseLost
from ..contract import Claim
from .rows import RowClaim
from .transaction import ROWS, Transaction, rows_of
from .writer import Operation

_HELD = "seq = ? AND fencing = ? AND (state = 1 OR lost)"
_OF_SHOWN = "FROM shown WHERE delivery.seq = shown.seq AND delivery.fencing = shown.fencing AND "
# In one row: each row of a statement costs a turn of the interpreter's lock.
_HELD_AMONG = """
WITH shown (seq, fencing) AS (VALUES {}) SELECT json_group_array(seq), json_group_array(grp) FILTER (WHERE grp NOT NULL)
FROM shown CROSS JOIN delivery USING (seq) WHERE delivery.fencing = shown.fencing AND (state = 1 OR lost)
"""
_COMPLETE = """
UPDATE delivery SET state = 5, at = ?, lost = 0, done = NULL, failures = NULL
WHERE seq IN (SELECT value FROM json_each(?))
"""
_RENEW = (
    "WITH shown (seq, fencing) AS (VALUES {}) UPDATE delivery SET at = ?, owner = ? "  # noqa: S608 - our own SQL
    + _OF_SHOWN
    + "state = 1 RETURNING delivery.fencing"
)
# A lease that ran out, of a delivery that nobody has claimed since: taken up again, unless another of its group runs.
_LATE = """
SELECT grp FROM delivery WHERE seq = ? AND fencing = ? AND lost AND NOT EXISTS (
    SELECT 1 FROM delivery AS other
    WHERE other.grp = delivery.grp AND other.grp IS NOT NULL AND other.state < 3 AND other.state = 1
)
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
        seqs = _seqs_of(transaction, [change.claim for change in operations])
        for change, seq in zip(operations, seqs, strict=True):
            assignments, at = change.assignments, []
            if change.ends:
                assignments, at = f"state = 4, at = ?, lost = 0, {assignments}", [transaction.now]
            elif change.after is not None:
                # One of a group lines up again behind those that were created before it.
                assignments = f"state = CASE WHEN grp IS NULL THEN 2 ELSE 3 END, at = ?, lost = 0, {assignments}"
                at = [transaction.now + change.after]
            sql = f"UPDATE delivery SET {assignments} WHERE {_HELD} RETURNING grp"  # noqa: S608 - our own SQL
            parameters = (*at, *change.values, seq, change.claim.delivery.fencing)
            rows = transaction.connection.execute(sql, parameters).fetchall()
            if not rows:
                change.error = _lease_lost(change.claim)
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
        execute = transaction.connection.execute
        seqs = _seqs_of(transaction, [operation.claim for operation in operations])
        completed: set[int] = set()
        for start in range(0, len(operations), ROWS):
            some = operations[start : start + ROWS]
            shown: list[int] = []
            for operation, seq in zip(some, seqs[start:], strict=False):
                shown += (seq, operation.claim.delivery.fencing)
            held, groups = execute(rows_of(_HELD_AMONG, "(?, ?)", len(some)), shown).fetchone()
            execute(_COMPLETE, (transaction.now, held))
            completed.update(msgspec.json.decode(held))
            transaction.groups.update(msgspec.json.decode(groups))
        transaction.unfinished -= len(completed)
        transaction.delete_bodies(list(completed))
        for operation, seq in zip(operations, seqs, strict=True):
            if seq in completed:
                completed.remove(seq)  # for one, if it was asked for twice
                operation.result = None
            else:
                operation.error = _lease_lost(operation.claim)


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
                parameters = [*_shown(transaction, some), transaction.now + renew.lease, transaction.owner]
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
        (seq,) = _seqs_of(transaction, [claim])
        row = execute(_LATE, (seq, claim.delivery.fencing)).fetchone()
        if row is None:
            return False
        (group,) = row
        if group is not None:
            execute("UPDATE delivery SET state = 3 WHERE grp = ? AND grp IS NOT NULL AND state < 3", (group,))
        execute(
            "UPDATE delivery SET state = 1, lost = 0, at = ?, owner = ? WHERE seq = ?",
            (transaction.now + lease, transaction.owner, seq),
        )
        return True


def _lease_lost(claim: Claim) -> LeaseLost:
    """Return the error for a claim that is not the current one."""
    return LeaseLost(f"The lease of {claim.delivery.id} is lost: another run owns it, or it has ended.")


def _shown(transaction: Transaction, claims: Sequence[Claim]) -> list[int]:
    parameters: list[int] = []
    for claim, seq in zip(claims, _seqs_of(transaction, claims), strict=True):
        parameters += (seq, claim.delivery.fencing)
    return parameters


def _seqs_of(transaction: Transaction, claims: Sequence[Claim]) -> list[int]:
    """Return the number of the delivery of each claim; 0, which is nobody's, where its key is not known any more."""
    others = [claim.delivery.id for claim in claims if not isinstance(claim, RowClaim)]
    found = transaction.keys.find(transaction.connection, others)
    return [claim.seq if isinstance(claim, RowClaim) else found.get(claim.delivery.id, 0) for claim in claims]
