"""Calls an ASGI app as a server would, and holds it to the protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import anyio.lowlevel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starlette_intercom import HUB_SIGNATURE, SignatureScheme
from tests.factories import SECRET, Headers, headers_of


@dataclass
class Answer:
    """What an app answered; ``status`` is 0 where it did not."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Client:
    """The other end of one request.

    Args:
        chunks: the body, as it comes in.
        then: what follows: the body is complete, nothing more ever comes, or the client goes away.
    """

    def __init__(self, chunks: Sequence[bytes], then: Literal["complete", "stall", "gone"] = "complete") -> None:
        self._chunks = list(chunks)
        self._then = then
        self._started = False
        self.answer = Answer(0, {}, b"")
        self.complete = anyio.Event()
        self.received = 0

    async def receive(self) -> Message:
        await anyio.lowlevel.checkpoint()
        if self._chunks:
            chunk = self._chunks.pop(0)
            self.received += len(chunk)
            return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks) or self._then != "complete"}
        if self._then == "gone":
            return {"type": "http.disconnect"}
        if self._then == "stall":
            await anyio.sleep_forever()
        await self.complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        assert not self.complete.is_set(), "nothing may follow a complete answer"
        if message["type"] == "http.response.start":
            assert not self._started, "an answer starts once"
            self._started = True
            names = [name.decode() for name, _ in message["headers"]]
            assert len(names) == len(set(names))
            assert all(name == name.lower() for name in names)
            self.answer.status = message["status"]
            self.answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        assert message["type"] == "http.response.body"
        assert self._started
        self.answer.content += message.get("body", b"")
        if not message.get("more_body", False):
            length = self.answer.headers.get("content-length")
            assert length is None or int(length) == len(self.answer.content)
            self.complete.set()


def http_scope(method: str = "POST", path: str = "/webhooks/intercom", headers: Headers | None = None) -> Scope:
    """Return the scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")] if headers is None else headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }


async def call(
    app: ASGIApp,
    chunks: Iterable[bytes] = (b"",),
    *,
    method: str = "POST",
    path: str = "/webhooks/intercom",
    headers: Headers | None = None,
    then: Literal["complete", "stall", "gone"] = "complete",
    **scope: Any,
) -> Answer:
    """Make one request and return the answer."""
    client = Client(list(chunks), then)
    await app({**http_scope(method, path, headers), **scope}, client.receive, client.send)
    assert client.complete.is_set() or client.answer.status == 0, "an answer that was begun must be completed"
    return client.answer


async def deliver(
    app: ASGIApp,
    body: bytes,
    *,
    secret: str = SECRET,
    scheme: SignatureScheme = HUB_SIGNATURE,
    path: str = "/webhooks/intercom",
    **scope: Any,
) -> Answer:
    """Send a body as Intercom would, signed."""
    return await call(app, [body], path=path, headers=headers_of(body, secret=secret, scheme=scheme), **scope)


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Be an app that answers every request with 204, and knows no lifespan."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true, for five seconds at the most."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)
