"""How what is kept in Redis is written and read back."""

from __future__ import annotations

from typing import Final

import msgspec

from ...notification import StoredNotification
from ..contract import Claim, DeadLetter, Delivery, Failure

_decode_names: Final = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_failures: Final = msgspec.json.Decoder(tuple[Failure, ...]).decode


def to_bytes(text: str) -> bytes:
    """Encode a key, which may be any text."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """Decode a key."""
    return data.decode("utf-8", "surrogatepass")


def shown(claim: Claim) -> tuple[bytes, int]:
    """Return what proves that a delivery is held."""
    return to_bytes(claim.delivery.id), claim.delivery.fencing


def progress_of(done: frozenset[str], failures: tuple[Failure, ...]) -> tuple[bytes, bytes]:
    """Return what is kept of how far a delivery has come; nothing where there is nothing to say."""
    return msgspec.json.encode(done) if done else b"", msgspec.json.encode(failures) if failures else b""


def claim_of(
    id: bytes,
    attempt: int,
    fencing: bytes,
    lost: bytes,
    first_seen: bytes,
    done: bytes,
    failures: bytes,
    body: bytes,
    trace: bytes,
) -> Claim:
    """Read a claimed delivery."""
    notification: StoredNotification[object] = StoredNotification.read(body)
    return Claim(
        delivery=Delivery(
            id=to_text(id),
            topic=notification.topic,
            attempt=attempt,
            first_seen=float(first_seen),
            fencing=int(fencing),
        ),
        notification=notification,
        done=frozenset(_decode_names(done)) if done else frozenset(),
        failures=_decode_failures(failures) if failures else (),
        recovered=bool(lost),
        trace=trace.decode() if trace else None,
    )


def letter_of(
    id: bytes,
    attempts: bytes,
    first_seen: bytes,
    died_at: bytes,
    handlers: bytes,
    done: bytes,
    failures: bytes,
    body: bytes,
) -> DeadLetter:
    """Read a dead letter."""
    notification: StoredNotification[object] = StoredNotification.read(body)
    return DeadLetter(
        id=to_text(id),
        topic=notification.topic,
        notification=notification,
        handlers=_decode_names(handlers),
        done=frozenset(_decode_names(done)) if done else frozenset(),
        failures=_decode_failures(failures) if failures else (),
        attempts=int(attempts),
        first_seen=float(first_seen),
        died_at=float(died_at),
    )
