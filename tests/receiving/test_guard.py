"""SignatureGuard: any app behind it sees verified requests only, exactly as they were sent."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starlette_intercom import (
    BODY_SIGNATURE,
    FIN_SIGNATURE,
    HUB_SIGNATURE,
    ConfigurationError,
    SignatureGuard,
    SignatureScheme,
    VerifiedBody,
)
from tests.asgi import Client, call, deliver, http_scope, nothing
from tests.factories import SECRET, Headers, headers_of, signature

pytestmark = pytest.mark.anyio


class Recorder:
    """An app that reads its body and answers 200."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.verified: list[VerifiedBody] = []
        self.after: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            body += message["body"]
            more = message["more_body"]
        self.bodies.append(body)
        self.verified.append(scope["intercom.verified"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        self.after.append(await receive())


@pytest.mark.parametrize("scheme", [HUB_SIGNATURE, BODY_SIGNATURE, FIN_SIGNATURE], ids=lambda scheme: scheme.header)
async def test_an_app_of_any_kind_is_protected_by_any_scheme(scheme: SignatureScheme) -> None:
    app = Recorder()
    guard = SignatureGuard(app, secrets=SECRET, scheme=scheme)
    body = b'{"workspace_id": "any JSON"}'
    assert (await deliver(guard, body, scheme=scheme)).status == 200
    assert (await deliver(guard, body, scheme=scheme, secret="another")).status == 401
    unsigned = await call(guard, [body])
    assert (unsigned.status, unsigned.json) == (401, {"error": f"Missing {scheme.header}"})
    assert app.bodies == [body]


@pytest.mark.parametrize(
    "chunks",
    [[b"body"], [b"", b"bo", b"", b"dy", b""], [b"b", b"o", b"d", b"y"], [b""]],
)
async def test_the_app_reads_the_exact_body_and_then_what_the_server_says(chunks: list[bytes]) -> None:
    app = Recorder()
    body = b"".join(chunks)
    answer = await call(SignatureGuard(app, secrets=SECRET), chunks, headers=[signature(body)])
    assert answer.status == 200
    assert app.bodies == [body]
    assert app.after == [{"type": "http.disconnect"}]


async def test_the_app_learns_which_secret_signed() -> None:
    app = Recorder()
    guard = SignatureGuard(app, secrets={"old": "first", "new": "second"})
    await deliver(guard, b"1", secret="second")
    await deliver(guard, b"2", secret="first")
    assert [(body.content, body.secret_name) for body in app.verified] == [(b"1", "new"), (b"2", "old")]
    assert "1" not in repr(app.verified[0]).replace("1 bytes", "")


async def test_the_scope_of_the_server_is_left_alone() -> None:
    scope = http_scope(headers=headers_of(b"body"))
    before = dict(scope)
    client = Client([b"body"])
    await SignatureGuard(Recorder(), secrets=SECRET)(scope, client.receive, client.send)
    assert client.answer.status == 200
    assert scope == before


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-hub-signature", b"sha1=" + b"0" * 40)],
        [(b"x-hub-signature", b"")],
        [(b"x-hub-signature", b"sha1=" + b"\xff" * 40)],
        [(b"x-hub-signature", b"\xe2\x98\x83")],
        [(b"x-hub-signature", signature(b"body")[1].upper())],
        [(b"x-hub-signature", b"sha256=" + b"0" * 64)],
        [signature(b"body"), signature(b"body")],
        [signature(b"body"), (b"x-hub-signature", b"")],
        [(b"x-hub-signature", b""), signature(b"body")],
    ],
)
async def test_a_wrong_malformed_or_repeated_signature_is_invalid(headers: Headers) -> None:
    app = Recorder()
    answer = await call(SignatureGuard(app, secrets=SECRET), [b"body"], headers=headers)
    assert (answer.status, answer.json) == (401, {"error": "Invalid signature"})
    assert app.bodies == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-length", b"4")], 401),
        ([(b"x-hub-signature", b"nonsense"), (b"content-length", b"4")], 401),
        ([signature(b"body"), (b"content-length", b"11")], 413),
        ([signature(b"body"), (b"content-length", b"9" * 5000)], 413),
    ],
)
async def test_what_the_headers_give_away_is_refused_without_reading(headers: Headers, status: int) -> None:
    client = Client([b"body"])
    guard = SignatureGuard(nothing, secrets=SECRET, max_body_size=10)
    await guard(http_scope(headers=headers), client.receive, client.send)
    assert client.answer.status == status
    assert client.answer.headers["connection"] == "close"
    assert client.received == 0


@pytest.mark.parametrize("chunks", [[], [b"bo"], [b"bo", b"d"]])
@pytest.mark.parametrize("listening", [True, False])
async def test_a_body_that_breaks_off_reaches_nobody_and_leaves_no_line_in_the_log(
    chunks: list[bytes], listening: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = Recorder()
    client = Client(chunks, "gone")

    async def send(message: Message) -> None:
        if not listening:
            raise OSError("the client has gone")
        await client.send(message)

    await SignatureGuard(app, secrets=SECRET)(http_scope(headers=[signature(b"body")]), client.receive, send)
    assert client.answer.status == (400 if listening else 0)
    assert app.bodies == []
    assert [record for record in caplog.records if record.name.startswith("starlette_intercom")] == []


@pytest.mark.parametrize(("version", "close"), [("1.0", True), ("1.1", True), ("2", False), ("3", False)])
async def test_no_connection_header_from_http_2_on(version: str, close: bool) -> None:
    guard = SignatureGuard(nothing, secrets=SECRET, max_body_size=2, read_timeout=0.02)
    for headers, then in (([], "stall"), ([signature(b"body")], "stall"), ([signature(b"b")], "stall")):
        for chunks in ([b"body"], [b"b"]):
            answer = await call(guard, chunks, headers=headers, then=then, http_version=version)  # type: ignore[arg-type]
            assert answer.status in (401, 408, 413)
            assert ("connection" in answer.headers) == close


async def test_a_websocket_is_refused_before_it_opens() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {**http_scope(headers=[signature(b"")]), "type": "websocket", "scheme": "ws"}
    await SignatureGuard(Recorder(), secrets=SECRET)(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_the_lifespan_passes_untouched() -> None:
    calls: list[tuple[Scope, Receive, Send]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        calls.append((scope, receive, send))

    client = Client([])
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    await SignatureGuard(app, secrets=SECRET)(scope, client.receive, client.send)
    assert calls == [(scope, client.receive, client.send)]


async def test_a_connection_of_another_kind_does_not_reach_the_app() -> None:
    client = Client([])
    await SignatureGuard(Recorder(), secrets=SECRET)({"type": "something.newer"}, client.receive, client.send)
    assert client.answer.status == 0


async def test_what_the_app_raises_is_the_servers_to_see() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await deliver(SignatureGuard(broken, secrets=SECRET), b"body")


@pytest.mark.parametrize(
    "make",
    [
        lambda app: SignatureGuard(app, secrets=""),
        lambda app: SignatureGuard(app, secrets=[]),
        lambda app: SignatureGuard(app, secrets="s", max_body_size=0),
        lambda app: SignatureGuard(app, secrets="s", read_timeout=0),
        lambda app: SignatureGuard(app, secrets="s", read_timeout=float("inf")),
        lambda app: SignatureGuard(app, secrets="s", read_timeout=float("nan")),
        lambda app: SignatureGuard(app, secrets="s", max_concurrent_reads=0),
    ],
)
def test_a_setting_out_of_its_range_is_refused(make: Callable[[ASGIApp], SignatureGuard]) -> None:
    with pytest.raises(ConfigurationError):
        make(nothing)
