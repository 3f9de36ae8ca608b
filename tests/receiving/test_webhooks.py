"""The webhook sub-application: the table of answers, request by request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette

from starlette_intercom import Intercom, Notification, StoredNotification
from tests.asgi import Answer, Client, call, deliver, until
from tests.factories import SECRET, Headers, envelope, headers_of, signature

pytestmark = pytest.mark.anyio

Log = list[str | None]


def receiver(**options: Any) -> tuple[Intercom, Log]:
    """Return an ``Intercom`` with one handler, and the ids that it has handled."""
    intercom = Intercom(SECRET, **options)
    handled: Log = []

    @intercom.on("conversation.*")
    async def handle(notification: Notification) -> None:
        assert isinstance(notification, StoredNotification)
        handled.append(notification.id)

    return intercom, handled


@asynccontextmanager
async def running(intercom: Intercom) -> AsyncIterator[None]:
    async with intercom.lifespan(Starlette()):
        yield


def assert_received(answer: Answer) -> None:
    assert (answer.status, answer.json) == (200, {"received": True})
    assert answer.headers["content-type"] == "application/json"
    assert "connection" not in answer.headers


async def test_valid_and_new() -> None:
    intercom, handled = receiver()
    async with running(intercom):
        assert_received(await deliver(intercom.webhooks, envelope(id="a")))
        await until(lambda: handled == ["a"])


async def test_valid_and_seen_before() -> None:
    intercom, handled = receiver()
    async with running(intercom):
        await deliver(intercom.webhooks, envelope(id="a"))
        for _ in range(3):
            answer = await deliver(intercom.webhooks, envelope(id="a", delivery_attempts=2))
            assert (answer.status, answer.json) == (200, {"received": True, "duplicate": True})
            await until(lambda: handled)
        assert_received(await deliver(intercom.webhooks, envelope(id="a", app_id="workspace2")))
        await until(lambda: len(handled) == 2)
    assert handled == ["a", "a"]


async def test_copies_at_once_are_handled_once() -> None:
    intercom, handled = receiver()
    answers: list[Answer] = []

    async def send() -> None:
        answers.append(await deliver(intercom.webhooks, envelope(id="a")))

    async with running(intercom), anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(send)
    assert [answer.status for answer in answers] == [200] * 20
    assert sum("duplicate" in answer.json for answer in answers) == 19
    assert handled == ["a"]


async def test_valid_without_a_handler(caplog: pytest.LogCaptureFixture) -> None:
    intercom, handled = receiver()
    heard: list[str] = []

    @intercom.on_unhandled
    async def hear(notification: Notification) -> None:
        heard.append(notification.topic)

    async with running(intercom):
        for name in ("a", "b", "a"):
            assert_received(await deliver(intercom.webhooks, envelope("contact.user.created", id=name)))
        stats = await intercom.stats()
    assert heard == ["contact.user.created"] * 3
    assert handled == []
    assert (stats.waiting, stats.done) == (0, 0)
    lines = [record.getMessage() for record in caplog.records if "No handler" in record.getMessage()]
    assert len(lines) == 1
    assert "@intercom.on('contact.user.created')" in lines[0]


PING = {"type": "ping", "message": "a test request"}


async def test_a_ping_needs_no_handler(caplog: pytest.LogCaptureFixture) -> None:
    intercom, _ = receiver()
    ping = envelope("ping", id=None, item=PING, delivery_status=None)
    async with running(intercom):
        assert_received(await deliver(intercom.webhooks, ping))
    assert "No handler" not in caplog.text


async def test_a_ping_runs_its_handlers() -> None:
    intercom, handled = receiver()

    @intercom.on("ping")
    async def pong(notification: Notification) -> None:
        handled.append(notification.item["message"])

    async with running(intercom):
        for created_at in (1_760_000_000, 1_760_000_060):
            ping = envelope("ping", id=None, item=PING, created_at=created_at)
            assert_received(await deliver(intercom.webhooks, ping))
            assert (await deliver(intercom.webhooks, ping)).json == {"received": True, "duplicate": True}
    assert handled == ["a test request"] * 2


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([], "Missing X-Hub-Signature"),
        ([(b"x-body-signature", b"0" * 64)], "Missing X-Hub-Signature"),
        ([(b"x-hub-signature", b"sha1=" + b"0" * 40)], "Invalid signature"),
        ([signature(envelope(), secret="another")], "Invalid signature"),
        ([(b"x-hub-signature", b"")], "Invalid signature"),
        ([(b"x-hub-signature", b"sha1=\xc3\xa9" + b"0" * 38)], "Invalid signature"),
        ([signature(envelope()), signature(envelope())], "Invalid signature"),
    ],
)
async def test_unsigned_or_wrongly_signed(headers: Headers, says: str) -> None:
    intercom, handled = receiver()
    async with running(intercom):
        answer = await call(intercom.webhooks, [envelope()], headers=headers)
        assert (answer.status, answer.json) == (401, {"error": says})
        assert_received(await deliver(intercom.webhooks, envelope()))  # nothing was marked as seen
    assert handled == ["notif_1"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "object"),
        (b"{}", "type"),
        (b'{"type": "notification_event"', "not valid JSON"),
        (b"[" * 100_000, "array"),
        (b'{"a":' * 100_000, "JSON"),
        (envelope(topic=""), "topic"),
        (envelope(topic=42), "topic"),  # type: ignore[arg-type]
        (envelope(type="event"), "type"),
        (envelope(app_id=None), "app_id"),
        (envelope(created_at="yesterday"), "created_at"),
        (envelope(created_at=10**30), "created_at"),
        (envelope(created_at=-1), "created_at"),
        (envelope(data=None), "data"),
        (envelope(data={}), "data.item"),
        (envelope(id=42), "id"),  # type: ignore[arg-type]
        (envelope(id="x" * 256), "id"),
        (envelope().replace(b"notif_1", b"\\ud800"), "JSON"),
        (envelope().replace(b"1760000000", b"1" * 5000), ""),
    ],
)
async def test_verified_but_not_a_notification(body: bytes, names: str) -> None:
    intercom, handled = receiver()
    async with running(intercom):
        answer = await deliver(intercom.webhooks, body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert names in answer.json["error"]
    assert len(answer.content) < 200
    assert handled == []


async def test_body_over_the_limit() -> None:
    intercom, _ = receiver(max_body_size=len(envelope()))
    async with running(intercom):
        assert_received(await deliver(intercom.webhooks, envelope()))
        for headers in ([signature(envelope() + b" ")], headers_of(envelope() + b" ")):
            answer = await call(intercom.webhooks, [envelope(), b" ", b"more"], headers=headers)
            assert (answer.status, answer.json) == (413, {"error": "Body too large"})
            assert answer.headers["connection"] == "close"


async def test_body_not_complete_in_time() -> None:
    intercom, handled = receiver(read_timeout=0.05)
    async with running(intercom):
        answer = await call(intercom.webhooks, [envelope()], headers=headers_of(envelope()), then="stall")
        assert (answer.status, answer.json) == (408, {"error": "Body not complete in time"})
        assert answer.headers["connection"] == "close"
    assert handled == []


async def test_body_broken_off() -> None:
    intercom, handled = receiver()
    async with running(intercom):
        answer = await call(intercom.webhooks, [envelope()], headers=headers_of(envelope()), then="gone")
        assert (answer.status, answer.json) == (400, {"error": "Body not complete"})
        assert answer.headers["connection"] == "close"
    assert handled == []


@pytest.mark.parametrize("started", [True, False])
async def test_head_and_other_methods(started: bool) -> None:
    async def check() -> None:
        head = await call(intercom.webhooks, method="HEAD")
        assert (head.status, head.content, head.headers["content-length"]) == (200, b"", "0")
        for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "", "\N{SNOWMAN}"):
            answer = await call(intercom.webhooks, [envelope()], method=method, headers=headers_of(envelope()))
            assert (answer.status, answer.json) == (405, {"error": "Method not allowed"})
            assert answer.headers["allow"] == "POST, HEAD"

    intercom, handled = receiver()
    if started:
        async with running(intercom):
            await check()
    else:
        await check()
    assert handled == []


async def test_which_secret_is_in_use_is_known() -> None:
    intercom = Intercom({"old": "first", "new": "second"})
    intercom.on("*", handler=lambda notification: None, name="all")
    async with running(intercom):
        for name, secret in (("a", "first"), ("b", "second"), ("c", "second")):
            assert_received(await deliver(intercom.webhooks, envelope(id=name), secret=secret))
    assert intercom.secret_uses == {"old": 1, "new": 2}


@pytest.mark.parametrize("result", ["same", 42])
async def test_the_identity_of_a_notification_may_be_the_users(result: object) -> None:
    intercom, handled = receiver(dedupe_key=lambda notification: result)
    async with running(intercom):
        assert_received(await deliver(intercom.webhooks, envelope(id="a")))
        assert (await deliver(intercom.webhooks, envelope(id="b"))).json == {"received": True, "duplicate": True}
    assert handled == ["a"]


class Unprintable:
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize("option", ["dedupe_key", "serialize_by"])
@pytest.mark.parametrize("result", [None, Unprintable(), ZeroDivisionError()])
async def test_a_users_function_that_fails_keeps_nothing_out(option: str, result: object) -> None:
    def function(notification: Notification) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    intercom, handled = receiver(**{option: function})
    async with running(intercom):
        assert_received(await deliver(intercom.webhooks, envelope(id="a")))
        assert (await deliver(intercom.webhooks, envelope(id="a"))).json == {"received": True, "duplicate": True}
    assert handled == ["a"]


async def test_alone_it_serves_no_lifespan() -> None:
    client = Client([])
    intercom, _ = receiver()
    await intercom.webhooks({"type": "lifespan"}, client.receive, client.send)
    assert client.answer.status == 0
