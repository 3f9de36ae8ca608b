"""The bounds of reading a body: its size, its time, how many at once, and the memory of all together."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from starlette.types import Message, Receive, Scope, Send

from starlette_intercom import SignatureGuard
from tests.asgi import Client, call, deliver, http_scope, nothing, until
from tests.factories import SECRET, Headers, signature

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("length", [[], [(b"content-length", b"5")], [(b"content-length", b"-1")]])
async def test_a_body_is_limited_also_where_its_length_is_not_told(length: Headers) -> None:
    guard = SignatureGuard(nothing, secrets=SECRET, max_body_size=10)
    small = b"0123456789"
    assert (await call(guard, [small[:5], small[5:]], headers=[signature(small), *length])).status == 204
    for chunks in ([b"01234567890"], [b"0123456789", b"0", b"never read"]):
        client = Client(chunks)
        await guard(http_scope(headers=[signature(b"".join(chunks)), *length]), client.receive, client.send)
        assert (client.answer.status, client.answer.content) == (413, b'{"error":"Body too large"}')
        assert client.received == 11


async def test_a_body_that_is_not_complete_in_time_is_refused() -> None:
    guard = SignatureGuard(nothing, secrets=SECRET, read_timeout=0.05)
    with anyio.fail_after(5):
        answer = await call(guard, [b"bo", b"d"], headers=[signature(b"body")], then="stall")
    assert (answer.status, answer.json) == (408, {"error": "Body not complete in time"})
    assert answer.headers["connection"] == "close"


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
    deadlines: list[float] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        deadlines.append(anyio.current_effective_deadline())
        await nothing(scope, receive, send)

    guard = SignatureGuard(note, secrets=SECRET)
    assert (await deliver(guard, b"body")).status == 204
    for headers in ([], [signature(b"another")]):
        client = Client([b"body"])

        async def send(message: Message, client: Client = client) -> None:
            deadlines.append(anyio.current_effective_deadline())
            await client.send(message)

        await guard(http_scope(headers=headers), client.receive, send)
        assert client.answer.status == 401
    assert deadlines == [float("inf")] * 5


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


async def test_a_body_that_makes_room_for_itself_is_answered_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest body is the one that is too much: nothing of its end may hit the sending of its answer."""
    guard = SignatureGuard(nothing, secrets=SECRET, read_timeout=30)
    monkeypatch.setattr(guard._reader, "_max_buffered", 10)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 20, "more_body": True}

    async def slow_send(message: Message) -> None:
        await anyio.sleep(0.01)
        sent.append(message)

    await guard(http_scope(headers=[signature(b"")]), receive, slow_send)
    await anyio.sleep(0.01)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 503


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


async def test_a_body_that_had_to_make_room_is_not_read_on_before_its_cancellation_arrives() -> None:
    guard = SignatureGuard(nothing, secrets=SECRET, max_concurrent_reads=1, read_timeout=30)
    first, reading, go_on = Client([]), anyio.Event(), anyio.Event()

    async def receive() -> Message:
        assert not go_on.is_set(), "nothing more is read"
        with anyio.CancelScope(shield=True):
            reading.set()
            await go_on.wait()
        return {"type": "http.request", "body": b"late", "more_body": True}

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(guard, http_scope(headers=[signature(b"")]), receive, first.send)
            await reading.wait()
            assert (await deliver(guard, b"complete")).status == 204
            go_on.set()
    assert first.answer.status == 503
    assert (guard._reader._buffered, len(guard._reader._reads)) == (0, 0)


async def test_large_bodies_that_are_complete_at_once_are_checked_one_after_the_other() -> None:
    """To hash one takes milliseconds, and many in one turn of the event loop would keep everything else waiting."""
    turns = 0
    checked: list[int] = []
    body = b"x" * 600_000

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        checked.append(turns)
        await nothing(scope, receive, send)

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    guard = SignatureGuard(note, secrets=SECRET)
    headers = [signature(body)]
    async with anyio.create_task_group() as group:
        group.start_soon(count)
        async with anyio.create_task_group() as requests:
            for pieces in ([body], [body[:300_000], body[300_000:]]) * 6:
                requests.start_soon(lambda pieces: call(guard, pieces, headers=headers), pieces)
        group.cancel_scope.cancel()
    assert len(checked) == 12
    assert max(checked.count(turn) for turn in checked) <= 3
    assert (guard._reader._buffered, guard._reader._queue) == (0, 0)
