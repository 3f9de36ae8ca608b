"""SignatureGuard: any app behind it sees verified requests only, exactly as they were sent."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
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
from tests.asgi import Client, call, deliver, http_scope, nothing, until
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


@pytest.mark.parametrize("length", [[], [(b"content-length", b"5")], [(b"content-length", b"-1")]])
async def test_a_body_is_limited_also_where_its_length_is_not_told(length: Headers) -> None:
    app = Recorder()
    guard = SignatureGuard(app, secrets=SECRET, max_body_size=10)
    small = b"0123456789"
    assert (await call(guard, [small[:5], small[5:]], headers=[signature(small), *length])).status == 200
    for chunks in ([b"01234567890"], [b"0123456789", b"0", b"never read"]):
        client = Client(chunks)
        await guard(http_scope(headers=[signature(b"".join(chunks)), *length]), client.receive, client.send)
        assert (client.answer.status, client.answer.content) == (413, b'{"error":"Body too large"}')
        assert client.received == 11
    assert app.bodies == [small]


async def test_a_body_that_is_not_complete_in_time_is_refused() -> None:
    app = Recorder()
    guard = SignatureGuard(app, secrets=SECRET, read_timeout=0.05)
    with anyio.fail_after(5):
        answer = await call(guard, [b"bo", b"d"], headers=[signature(b"body")], then="stall")
    assert (answer.status, answer.json) == (408, {"error": "Body not complete in time"})
    assert answer.headers["connection"] == "close"
    assert app.bodies == []


async def test_one_deadline_covers_the_whole_body_however_it_drips() -> None:
    guard = SignatureGuard(nothing, secrets=SECRET, read_timeout=0.1)
    client = Client([])
    drops = 0

    async def drip() -> Message:
        nonlocal drops
        drops += 1
        await anyio.sleep(0.01)
        return {"type": "http.request", "body": b".", "more_body": True}

    with anyio.fail_after(5):
        await guard(http_scope(headers=[signature(b"")]), drip, client.send)
    assert client.answer.status == 408
    assert drops <= 12


async def test_the_deadline_is_for_the_body_and_not_for_the_app_nor_for_the_answer() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(0.15)
        await nothing(scope, receive, send)

    guard = SignatureGuard(slow, secrets=SECRET, read_timeout=0.05)
    assert (await deliver(guard, b"body")).status == 204

    client = Client([b"body"])

    async def slow_send(message: Message) -> None:
        await anyio.sleep(0.1)
        await client.send(message)

    await guard(http_scope(), client.receive, slow_send)
    assert client.answer.status == 401


async def test_beyond_the_limit_the_slowest_body_makes_room() -> None:
    guard = SignatureGuard(nothing, secrets=SECRET, max_concurrent_reads=2, read_timeout=30)
    answers: list[tuple[str, int]] = []

    async def request(name: str, then: str, begun: anyio.Event) -> None:
        client = Client([b"body"], then)  # type: ignore[arg-type]

        async def receive() -> Message:
            if then == "stall" and not client._chunks:
                begun.set()
            return await client.receive()

        await guard(http_scope(headers=[signature(b"body")]), receive, client.send)
        answers.append((name, client.answer.status))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for name in ("first", "second", "third"):
                begun = anyio.Event()
                group.start_soon(request, name, "stall", begun)
                await begun.wait()
            await until(lambda: answers)
            assert answers == [("first", 503)]
            assert (await deliver(guard, b"complete")).status == 204
            await until(lambda: len(answers) == 2)
            assert answers == [("first", 503), ("second", 503)]
            group.cancel_scope.cancel()


async def test_bodies_together_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = SignatureGuard(nothing, secrets=SECRET, read_timeout=30)
    reader = guard._reader
    monkeypatch.setattr(reader, "_max_buffered", 100)
    statuses: list[tuple[str, int]] = []
    waiting = {"first": anyio.Event(), "second": anyio.Event()}
    more_of_the_first = anyio.Event()

    async def request(name: str, early: list[bytes], late: list[bytes]) -> None:
        client = Client([])

        async def receive() -> Message:
            """Hand over what there is without a turn of the event loop, as a server may that has it already."""
            if not early:
                waiting[name].set()
                await more_of_the_first.wait()
                early.extend(late)
                late.clear()
            if not early:
                await anyio.sleep_forever()
            return {"type": "http.request", "body": early.pop(0), "more_body": True}

        await guard(http_scope(headers=[signature(b"")]), receive, client.send)
        statuses.append((name, client.answer.status))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(request, "first", [b"x" * 10], [b"x" * 10] * 5)
            await waiting["first"].wait()
            group.start_soon(request, "second", [b"x" * 85], [])
            await waiting["second"].wait()
            more_of_the_first.set()
            await until(lambda: statuses)
            assert statuses == [("first", 503)]
            assert reader._buffered == 85
            group.cancel_scope.cancel()
    assert (reader._buffered, len(reader._reads)) == (0, 0)


async def test_nothing_is_kept_of_bodies_that_are_through() -> None:
    guard = SignatureGuard(nothing, secrets=SECRET, max_body_size=10, read_timeout=0.02)
    for chunks, then in (
        ([b"bo", b"dy"], "complete"),
        ([b"bo", b"dY"], "complete"),
        ([b"bo"], "gone"),
        ([b"bo"], "stall"),
        ([b"body" * 2, b"body"], "stall"),
    ):
        await call(guard, chunks, headers=[signature(b"body")], then=then)  # type: ignore[arg-type]
    assert (guard._reader._buffered, len(guard._reader._reads)) == (0, 0)


@pytest.mark.parametrize("chunks", [[], [b"bo"], [b"bo", b"d"]])
async def test_a_client_that_goes_away_gets_no_answer_and_no_line_in_the_log(
    chunks: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = Recorder()
    answer = await call(SignatureGuard(app, secrets=SECRET), chunks, headers=[signature(b"body")], then="gone")
    assert answer.status == 0
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
