"""503: whenever a notification cannot be kept, and then nothing of it is kept."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
import pytest
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from starlette_intercom import InboxError, InboxUnavailable, Intercom, MemoryInbox, Notification, VerifiedNotification
from tests.asgi import Answer, call, deliver, until
from tests.factories import SECRET, envelope, headers_of

pytestmark = pytest.mark.anyio


class FaultyInbox(MemoryInbox):
    """Does as it is told before it accepts anything."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[], Awaitable[None]] | None = None

    async def accept(
        self, notification: VerifiedNotification, *, key: str, group: str | None = None, trace: str | None = None
    ) -> bool:
        if self.fault is not None:
            await self.fault()
        return await super().accept(notification, key=key, group=group, trace=trace)


def assert_try_later(answer: Answer) -> None:
    assert (answer.status, answer.json) == (503, {"error": "Try again later"})
    assert int(answer.headers["retry-after"]) >= 1


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "starlette_intercom"]


async def test_not_started_and_one_line_that_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    intercom = Intercom(SECRET)
    for _ in range(3):
        assert_try_later(await deliver(intercom.webhooks, envelope()))
    assert len(lines(caplog)) == 1
    for hint in ("no lifespan event reached it", "IntercomMiddleware", "lifespan=intercom.lifespan", "--lifespan on"):
        assert hint in lines(caplog)[0]


async def test_before_and_after_a_start_nothing_is_even_read() -> None:
    intercom = Intercom(SECRET)
    unsigned = await call(intercom.webhooks, [b"body"])
    assert_try_later(unsigned)
    assert unsigned.headers["connection"] == "close"
    async with intercom.lifespan(Starlette()):
        pass
    assert_try_later(await deliver(intercom.webhooks, envelope()))


async def test_draining(caplog: pytest.LogCaptureFixture) -> None:
    intercom = Intercom(SECRET)
    begun, finish = anyio.Event(), anyio.Event()
    handled: list[str | None] = []

    @intercom.on("*")
    async def handle(notification: Notification) -> None:
        begun.set()
        await finish.wait()
        handled.append(notification.id)

    async def serve(started: anyio.Event, stop: anyio.Event, stopped: anyio.Event) -> None:
        async with intercom.lifespan(Starlette()):
            started.set()
            await stop.wait()
        stopped.set()

    started, stop, stopped = anyio.Event(), anyio.Event(), anyio.Event()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(serve, started, stop, stopped)
            await started.wait()
            assert (await deliver(intercom.webhooks, envelope(id="a"))).status == 200
            await begun.wait()
            stop.set()
            await until(lambda: not intercom.webhooks.accepting)
            assert_try_later(await deliver(intercom.webhooks, envelope(id="b")))
            assert not stopped.is_set()
            finish.set()
    assert handled == ["a"]
    assert "Webhook request: shutting down." in lines(caplog)


async def test_a_second_start_accepts_again() -> None:
    intercom = Intercom(SECRET)
    intercom.on("*", handler=lambda notification: None, name="all")
    for number in ("a", "b"):
        async with intercom.lifespan(Starlette()):
            assert (await deliver(intercom.webhooks, envelope(id=number))).json == {"received": True}


async def test_inbox_full() -> None:
    intercom = Intercom(SECRET, inbox=MemoryInbox(max_unfinished=1))
    release = anyio.Event()

    @intercom.on("*")
    async def handle(notification: Notification) -> None:
        await release.wait()

    async with intercom.lifespan(Starlette()):
        assert (await deliver(intercom.webhooks, envelope(id="a"))).status == 200
        assert_try_later(await deliver(intercom.webhooks, envelope(id="b")))
        assert (await deliver(intercom.webhooks, envelope(id="a"))).json == {"received": True, "duplicate": True}
        release.set()
        await until(lambda: not intercom.inbox._records)  # type: ignore[attr-defined]
        assert (await deliver(intercom.webhooks, envelope(id="b"))).json == {"received": True}


@pytest.mark.parametrize(
    "error",
    [
        InboxUnavailable("the disk is full"),
        InboxError("something else"),
        ZeroDivisionError("a defect"),
        OSError(5, "Input/output error"),
        MemoryError(),
        RecursionError(),
        TimeoutError(),
        ExceptionGroup("several", [ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_inbox_that_raises(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def fault() -> None:
        raise error

    inbox = FaultyInbox()
    intercom = Intercom(SECRET, inbox=inbox)
    intercom.on("*", handler=lambda notification: None, name="all")
    async with intercom.lifespan(Starlette()):
        inbox.fault = fault
        for _ in range(3):
            answer = await deliver(intercom.webhooks, envelope())
            assert_try_later(answer)
            assert "connection" not in answer.headers  # its body was read, so the connection may be used again
        inbox.fault = None
        assert (await deliver(intercom.webhooks, envelope())).json == {"received": True}
    assert sum("inbox" in line and line.startswith("Webhook request") for line in lines(caplog)) == 1


async def test_an_inbox_that_hangs() -> None:
    inbox = FaultyInbox()
    intercom = Intercom(SECRET, inbox=inbox, read_timeout=0.5)
    intercom.on("*", handler=lambda notification: None, name="all")
    async with intercom.lifespan(Starlette()):
        inbox.fault = anyio.sleep_forever
        with anyio.fail_after(5):
            assert_try_later(await deliver(intercom.webhooks, envelope()))
        inbox.fault = None
        assert (await deliver(intercom.webhooks, envelope())).json == {"received": True}


async def test_reading_and_accepting_share_one_deadline() -> None:
    inbox = FaultyInbox()
    intercom = Intercom(SECRET, inbox=inbox, read_timeout=1.0)
    intercom.on("*", handler=lambda notification: None, name="all")

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        async def slow_receive() -> Message:
            await anyio.sleep(0.7)
            return await receive()

        await intercom.webhooks(scope, slow_receive, send)

    async with intercom.lifespan(Starlette()):
        inbox.fault = anyio.sleep_forever
        began = anyio.current_time()
        assert_try_later(await deliver(slow, envelope()))
        elapsed = anyio.current_time() - began
    assert 1.0 <= elapsed < 1.7  # with a deadline for each it would be 1.7 or more


async def test_no_line_in_the_log_has_a_payload_or_a_signature(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    inbox = FaultyInbox()
    intercom = Intercom(SECRET, inbox=inbox, read_timeout=0.05)
    intercom.on("*", handler=lambda notification: None, name="all")
    body = envelope(item={"text": "personal-data"})

    async def fault() -> None:
        raise ZeroDivisionError

    async with intercom.lifespan(Starlette()):
        for inbox.fault in (fault, anyio.sleep_forever, None):
            await deliver(intercom.webhooks, body)
        await call(intercom.webhooks, [body], headers=headers_of(body, secret="another-secret"))
        await deliver(intercom.webhooks, body.replace(b"notification_event", b"personal-data"))
        await deliver(intercom.webhooks, body.replace(b"1760000000", b'"personal-data"'))
    signature = headers_of(body)[-1][1].decode().removeprefix("sha1=")
    for line in caplog.text.splitlines():
        assert "personal-data" not in line
        assert signature not in line
        assert SECRET not in line
        assert "another-secret" not in line
