"""Rows of a SQLite inbox, and the values of the contract that they hold."""

from __future__ import annotations

import msgspec

from ...notification import StoredNotification, VerifiedNotification
from ..contract import Claim, Delivery, Failure

Row = tuple[int, str, str, int, float, int, str | None, str | None, bytes | VerifiedNotification, str | None]
"""What is known of a claimed delivery: seq, key, topic, attempt, first_seen, lost, done, failures, body, trace.

Instead of the body, what it was made of, where it was claimed as it came in.
"""

Taken = tuple[int, Row]
"""The fencing number of a claim, and its delivery."""


class RowClaim(Claim, frozen=True, kw_only=True, gc=False):
    """A claim of this inbox.

    Attributes:
        seq: the number of its delivery, which spares a search for the key.
    """

    seq: int


def claim_of(taken: Taken) -> RowClaim:
    """Make a claim of what was read."""
    fencing, row = taken
    seq, key, topic, attempt, first_seen, lost, done, failures, body, trace = row
    return RowClaim(
        delivery=Delivery(id=key, topic=topic, attempt=attempt, first_seen=first_seen, fencing=fencing),
        notification=StoredNotification.read(body) if isinstance(body, bytes) else StoredNotification.of(body),
        done=names_of(done),
        failures=failures_of(failures),
        recovered=bool(lost),
        trace=trace,
        seq=seq,
    )


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
