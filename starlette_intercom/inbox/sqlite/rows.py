"""Rows of a SQLite inbox, and the values of the contract that they hold."""

from __future__ import annotations

import msgspec

from ...notification import StoredNotification
from ..contract import Claim, Delivery, Failure
from .transaction import Transaction, as_json

Row = tuple[int, str, str, int, float, int, str | None, str | None, bytes, str | None]
"""What is read of a claimed delivery: seq, key, topic, attempt, first_seen, lost, done, failures, body, trace."""


class RowClaim(Claim, frozen=True, kw_only=True, gc=False):
    """A claim of this inbox.

    Attributes:
        seq: the number of its delivery, which spares a search for the key.
    """

    seq: int


def claim_of(fencing: int, row: Row) -> RowClaim:
    """Make a claim of what was read."""
    seq, key, topic, attempt, first_seen, lost, done, failures, body, trace = row
    return RowClaim(
        delivery=Delivery(id=key, topic=topic, attempt=attempt, first_seen=first_seen, fencing=fencing),
        notification=StoredNotification.read(body),
        done=names_of(done),
        failures=failures_of(failures),
        recovered=bool(lost),
        trace=trace,
        seq=seq,
    )


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
