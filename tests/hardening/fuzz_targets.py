"""What the fuzzer calls with bytes: each target raises where a promise is broken."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
from starlette.types import Message, Receive, Scope, Send

from starlette_intercom import (
    BODY_SIGNATURE,
    FIN_SIGNATURE,
    HUB_SIGNATURE,
    ConfigurationError,
    InvalidNotification,
    MemoryInbox,
    SignatureGuard,
    sign,
    verify,
)
from starlette_intercom.notification import VerifiedNotification
from starlette_intercom.receiving.body import BodyReader
from starlette_intercom.receiving.guard import SCOPE_KEY
from starlette_intercom.receiving.signature import has_shape
from starlette_intercom.receiving.webhooks import Webhooks
from starlette_intercom.topics import check_pattern, matches, suggest
from tests.factories import SECRET, envelope, notification, signature

BODY = envelope()
CORPUS = Path(__file__).parent / "corpus"
LISTED = {200, 400, 401, 405, 408, 413, 503}
MAX_BODY_SIZE = 2000


def header(data: bytes) -> None:
    """Nothing but the signature itself is accepted."""
    for scheme in (HUB_SIGNATURE, BODY_SIGNATURE, FIN_SIGNATURE):
        right = sign(BODY, SECRET, scheme).encode()
        assert (verify(BODY, data, [SECRET, "other"], scheme) == "1") == (data == right)
        assert has_shape(data, scheme) or data != right


def envelope_(data: bytes) -> None:
    """A signed body is a notification that can be used, or it is refused with a short sentence."""
    refusal = ""
    try:
        read = notification(data)
    except InvalidNotification as error:
        refusal = str(error)
    else:
        assert 0 < len(read.topic) <= 255
        assert read.created.timestamp() == read.created_at
        read.mentions("6f")
        with suppress(InvalidNotification):
            assert read.item is read.item
    assert len(refusal) < 500


def pattern(data: bytes) -> None:
    """A pattern is refused, or means a topic that is written like it."""
    text, _, topic = data.decode("utf-8", "surrogateescape").partition("\n")
    try:
        check_pattern(text)
    except ConfigurationError:
        return
    matches(text, topic)
    assert matches(text, text.replace("*", "x"))
    if len(text) < 40:
        suggest(text)


class Trial:
    """One request to an app: its messages are made of bytes, and what it sends is held to the protocol."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.status = 0
        self.complete = False
        self.body = b""

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self) -> int:
        return self.take(1)[0] if self._at < len(self._data) else 0

    async def receive(self) -> Message:
        kind = self.number()
        if self._at >= len(self._data):
            return {"type": "http.disconnect"}
        if kind < 16:
            return {"type": "http.disconnect"}
        message: Message = {"type": "http.request"}
        if kind & 1:
            message["body"] = self.take(self.number())
            self.body += message["body"]
        if kind & 2:
            message["more_body"] = bool(kind & 4)
        return message

    async def send(self, message: Message) -> None:
        assert not self.complete
        if message["type"] == "http.response.start":
            assert self.status == 0
            self.status = message["status"]
            assert all(isinstance(one, bytes) for pair in message["headers"] for one in pair)
        else:
            assert self.status
            self.complete = True


async def refuse(_: VerifiedNotification) -> None:
    """Hear of a topic that nobody handles."""


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    """Be the guarded app: only the empty body is ever signed."""
    assert (scope[SCOPE_KEY].content, await receive()) == (
        b"",
        {"type": "http.request", "body": b"", "more_body": False},
    )
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


async def one_request(data: bytes) -> None:
    trial = Trial(data)
    options = trial.number()
    headers = []
    for _ in range(options & 3):
        name = (b"x-hub-signature", b"content-length", b"transfer-encoding")[trial.number() % 3]
        headers.append((name, trial.take(trial.number() % 64)))
    if options & 4:  # right, for an empty body
        headers.append(signature(b""))
    scope: Scope = {
        "type": "http",
        "method": ("POST", "HEAD", "GET", "post")[options >> 6],
        "path": "/",
        "http_version": "1.1",
        "headers": headers,
    }
    if options & 8:
        await SignatureGuard(behind, secrets=SECRET, max_body_size=MAX_BODY_SIZE)(scope, trial.receive, trial.send)
        return
    inbox = MemoryInbox()
    webhooks = Webhooks(
        reader=BodyReader(secrets=SECRET, scheme=HUB_SIGNATURE, max_body_size=MAX_BODY_SIZE, max_concurrent_reads=10),
        timeout=4,
        inbox=inbox,
        handles=lambda topic: True,
        unhandled=refuse,
    )
    if options & 16:
        webhooks.open()
    await webhooks(scope, trial.receive, trial.send)
    assert trial.status in LISTED | {0}
    assert bool(trial.status) == trial.complete
    assert (await inbox.stats()).waiting == 0  # nothing here is both signed and a notification


def messages(data: bytes) -> None:
    """Whatever is received in whatever order, the answer is a listed one, and nothing unsigned gets in."""
    anyio.run(one_request, data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "header": header,
    "envelope": envelope_,
    "pattern": pattern,
    "messages": messages,
}
