"""Requests that leave nothing behind: what is no notification, or not Intercom's, and what nobody handles."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from starlette_intercom.testing import sample, signed
from tests.raw_http import NO_ANSWER, message_of

from .settings import MAX_BODY_SIZE, SECRET

UNKNOWN_TOPICS = 5


@dataclass(frozen=True)
class Stray:
    """Requests of one kind.

    Attributes:
        share: of a hundred requests.
        listed: the answers that the documentation gives it.
        make: makes one.
    """

    share: int
    listed: set[int]
    make: Callable[[random.Random], bytes]


def _notification() -> dict[str, object]:
    return sample("conversation.user.created")


def _of_nobody(chance: random.Random) -> bytes:
    topic = f"soak.unknown{chance.randrange(UNKNOWN_TOPICS)}"
    return message_of(signed(sample(topic, item={"type": "surprise"}), SECRET))


def _ping(chance: random.Random) -> bytes:
    return message_of(signed(sample("ping"), SECRET))


def _badly_signed(chance: random.Random) -> bytes:
    return message_of(signed(_notification(), "another secret"))


def _unsigned(chance: random.Random) -> bytes:
    return message_of(signed(_notification(), SECRET)).replace(b"X-Hub-Signature", b"X-Signature")


def _signed_twice(chance: random.Random) -> bytes:
    message = message_of(signed(_notification(), SECRET))
    head, _, rest = message.partition(b"\r\n")
    return head + b"\r\nX-Hub-Signature: sha1=" + b"0" * 40 + b"\r\n" + rest


def _no_notification(chance: random.Random) -> bytes:
    return message_of(signed(chance.choice([b"", b"[]", b"{", b'{"topic": 1}', b"\xff"]), SECRET))


def _too_large(chance: random.Random) -> bytes:
    return message_of(signed(b"x" * (MAX_BODY_SIZE + 1), SECRET))


def _too_slow(chance: random.Random) -> bytes:
    request = signed(_notification(), SECRET)
    return message_of(request, length=len(request.body) + 100)  # which never come


def _bare(method: str, path: str) -> Callable[[random.Random], bytes]:
    return lambda chance: f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()


STRAYS = {
    "unknown topic": Stray(5, {200}, _of_nobody),
    "ping": Stray(3, {200}, _ping),
    "wrong signature": Stray(3, {401}, _badly_signed),
    "no signature": Stray(2, {401}, _unsigned),
    "two signatures": Stray(1, {401}, _signed_twice),
    "signed, no notification": Stray(2, {400}, _no_notification),
    "too large": Stray(2, {413}, _too_large),
    "too slow": Stray(1, {408}, _too_slow),
    "HEAD": Stray(1, {200}, _bare("HEAD", "/webhooks/intercom")),
    "GET": Stray(1, {405}, _bare("GET", "/webhooks/intercom")),
    "another path": Stray(1, {404}, _bare("POST", "/elsewhere")),
}
BREAKS_OFF = "broken off"
"""One more, of another kind: the client goes away in the middle of its body."""
LISTED = {name: stray.listed for name, stray in STRAYS.items()} | {BREAKS_OFF: {NO_ANSWER}}
"""The answers that each may get."""
