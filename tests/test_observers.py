"""What observers hear, in which order, and that they disturb nothing."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette

import starlette_intercom.handling.processor
import starlette_intercom.handling.run
import starlette_intercom.receiving.webhooks
from starlette_intercom import (
    Accepted,
    Buried,
    ConfigurationError,
    ContactNotFound,
    Crashed,
    Duplicate,
    Event,
    EventFailed,
    EventsClient,
    EventSent,
    Failed,
    Inbox,
    Intercom,
    Interrupted,
    MemoryInbox,
    Notification,
    RateReported,
    Received,
    Reject,
    Rejected,
    Retried,
    Retry,
    Started,
    Step,
    Succeeded,
    Unhandled,
)
from starlette_intercom import steps as every_step
from starlette_intercom.observers import Observers
from starlette_intercom.testing import FakeIntercom, IntercomKit
from tests.asgi import call, deliver
from tests.factories import SECRET, TOPIC, Headers, envelope, headers_of
from tests.handling.faulty import Fault, FaultyInbox
from tests.handling.kit import Stage

pytestmark = pytest.mark.anyio

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
current: ContextVar[str] = ContextVar("current", default="")


class Recorder:
    """Keeps every step."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def observe(self, step: Step, /) -> None:
        self.steps.append(step)

    @property
    def kinds(self) -> list[type[Step]]:
        return [type(step) for step in self.steps]

    def only(self, kind: type[Step]) -> Any:
        (step,) = [step for step in self.steps if isinstance(step, kind)]
        return step


class Raising:
    """Raises at every step, and where it is asked for its trace."""

    def observe(self, step: Step, /) -> None:
        raise SystemExit("at a step")

    def traceparent(self) -> str | None:
        raise ValueError("at the trace")


class Tracing(Recorder):
    """Has a trace."""

    def traceparent(self) -> str | None:
        return TRACE


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@asynccontextmanager
async def receiving(recorder: Recorder, inbox: Inbox | None = None, **options: Any) -> AsyncIterator[Intercom]:
    """Have an Intercom that takes notifications; its handler waits for nothing."""
    intercom = Intercom(SECRET, inbox=MemoryInbox() if inbox is None else inbox, observers=[recorder], **options)

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None: ...

    async with intercom.lifespan(Starlette()):
        yield intercom


async def test_a_notification_that_is_handled(recorder: Recorder) -> None:
    async with receiving(recorder) as intercom:
        await deliver(intercom.webhooks, envelope())
        await deliver(intercom.webhooks, envelope())
    # The handler may run before the second request, or after it.
    handling = (Started, Succeeded)
    assert [kind for kind in recorder.kinds if kind not in handling] == [Received, Accepted, Received, Duplicate]
    assert [kind for kind in recorder.kinds if kind in (Accepted, *handling)] == [Accepted, *handling]
    accepted, started, succeeded = recorder.only(Accepted), recorder.only(Started), recorder.only(Succeeded)
    assert (accepted.id, accepted.topic, accepted.secret_name) == ("workspace1:notif_1", TOPIC, "1")
    assert recorder.only(Duplicate).id == started.id == succeeded.id == accepted.id
    assert (started.topic, started.attempt, started.trace) == (TOPIC, 1, None)
    assert started.handler == succeeded.handler
    assert started.handler.endswith("handle")
    assert min(accepted.seconds, started.waited, succeeded.seconds) >= 0


async def test_a_notification_that_no_handler_takes(recorder: Recorder) -> None:
    async with receiving(recorder) as intercom:
        await deliver(intercom.webhooks, envelope("contact.created"))
    assert recorder.kinds == [Received, Unhandled]
    assert recorder.only(Unhandled).topic == "contact.created"


def signed_by_others(body: bytes) -> Headers:
    return headers_of(body, secret="another")


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        ({"headers": []}, 401, "the signature header is missing"),
        ({"headers": [(b"x-hub-signature", b"sha1=x")]}, 401, "the signature header is malformed"),
        ({"headers": signed_by_others(envelope())}, 401, "the signature does not match"),
        ({"chunks": [b"x" * 5000]}, 413, "the body is larger than max_body_size"),
        ({"chunks": [b"{}"]}, 400, "verified, but not a notification"),
        ({"chunks": [b"{"], "then": "gone"}, 400, "the body broke off"),
        ({"chunks": [b"{"], "then": "stall"}, 408, "the body was not complete in time"),
    ],
)
async def test_a_request_that_is_turned_away(
    recorder: Recorder, request_: dict[str, Any], status: int, reason: str
) -> None:
    chunks = request_.get("chunks", [envelope()])
    request_ = {"headers": headers_of(b"".join(chunks)), "chunks": chunks} | request_
    async with receiving(recorder, max_body_size=2000, read_timeout=0.2) as intercom:
        answer = await call(intercom.webhooks, **request_)
    assert answer.status == status
    assert recorder.kinds == [Received, Rejected]
    assert (recorder.only(Rejected).status, recorder.only(Rejected).reason) == (status, reason)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("unavailable", "the inbox is unavailable"),
        ("bug", "the inbox failed"),
        ("hangs", "the inbox was too slow"),
    ],
)
async def test_an_inbox_that_takes_nothing(recorder: Recorder, fault: Fault, reason: str) -> None:
    inbox = FaultyInbox(MemoryInbox())
    inbox.will("accept", fault)
    async with receiving(recorder, inbox, read_timeout=0.2) as intercom:
        assert (await deliver(intercom.webhooks, envelope())).status == 503
    assert recorder.kinds == [Received, Rejected]
    assert (recorder.only(Rejected).status, recorder.only(Rejected).reason) == (503, reason)


async def test_a_full_inbox(recorder: Recorder) -> None:
    async with receiving(recorder, MemoryInbox(max_bytes=1)) as intercom:
        await deliver(intercom.webhooks, envelope())
    assert recorder.only(Rejected).reason == "the inbox is full"


async def test_before_the_start_and_after_the_end(recorder: Recorder) -> None:
    intercom = Intercom(SECRET, observers=[recorder])
    await deliver(intercom.webhooks, envelope())
    async with intercom.lifespan(Starlette()):
        pass
    await deliver(intercom.webhooks, envelope())
    assert [(step.reason, step.status) for step in recorder.steps if isinstance(step, Rejected)] == [
        ("not started", 503),
        ("shutting down", 503),
    ]
    assert recorder.kinds == [Received, Rejected] * 2


async def test_a_request_that_the_server_ends(recorder: Recorder) -> None:
    async with receiving(recorder) as intercom, anyio.create_task_group() as group:

        async def stalled() -> None:
            await call(intercom.webhooks, [b"{"], headers=headers_of(b"{}"), then="stall")

        group.start_soon(stalled)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert recorder.kinds == [Received, Rejected]
    assert (recorder.only(Rejected).reason, recorder.only(Rejected).status) == ("the server ended the request", 0)


async def test_other_methods_are_no_notifications(recorder: Recorder) -> None:
    async with receiving(recorder) as intercom:
        await call(intercom.webhooks, method="HEAD")
        await call(intercom.webhooks, method="GET")
    assert recorder.steps == []


async def test_a_handler_that_fails_until_it_is_buried(recorder: Recorder) -> None:
    stage = Stage(observers=[recorder])

    @stage.handlers.on(TOPIC, retries=1, name="fails")
    async def fails(notification: Notification) -> None:
        raise Retry(after=60) if len(recorder.steps) == 1 else ZeroDivisionError("with a name and an address")

    delivered = await stage.deliver()
    await stage.work()
    stage.clock.now += 60
    await stage.work()
    assert recorder.kinds == [Started, Failed, Retried, Started, Failed, Buried]
    (retried, buried) = recorder.only(Retried), recorder.only(Buried)
    assert (retried.id, retried.topic, retried.after) == (delivered, TOPIC, 60)
    assert (buried.id, buried.topic, buried.handlers) == (delivered, TOPIC, ("fails",))
    failures = [(step.error, step.attempt) for step in recorder.steps if isinstance(step, Failed)]
    assert failures == [("Retry", 1), ("ZeroDivisionError", 2)]
    assert [step.waited for step in recorder.steps if isinstance(step, Started)] == [0, 60]
    assert "address" not in repr(recorder.steps)


async def test_each_handler_of_a_delivery_is_told_apart(recorder: Recorder) -> None:
    stage = Stage(observers=[recorder])

    @stage.handlers.on(TOPIC, name="rejects")
    async def rejects(notification: Notification) -> None:
        raise Reject("no")

    @stage.handlers.on(TOPIC, name="plain")
    def plain(notification: Notification) -> None: ...

    await stage.deliver()
    await stage.work()
    assert recorder.kinds == [Started, Failed, Started, Succeeded, Buried]
    assert recorder.only(Failed).handler == "rejects"
    assert recorder.only(Succeeded).handler == "plain"


async def test_a_delivery_whose_handlers_are_gone(recorder: Recorder) -> None:
    stage = Stage(observers=[recorder])
    await stage.deliver()
    await stage.work_off()
    assert recorder.kinds == [*[Retried] * 4, Buried]
    assert recorder.only(Buried).handlers == ()


async def test_an_attempt_that_never_reported(recorder: Recorder) -> None:
    stage = Stage(observers=[recorder])

    @stage.handlers.on(TOPIC, name="deadly")
    async def deadly(notification: Notification) -> None: ...

    delivered = await stage.deliver()
    await stage.processor.claim(1)  # and the process is killed
    stage.restart()
    stage.clock.now += 31
    await stage.work()
    assert recorder.kinds == [Crashed, Started, Succeeded]
    crashed = recorder.only(Crashed)
    assert (crashed.id, crashed.handler, crashed.attempt) == (delivered, "deadly", 1)


@pytest.mark.parametrize("timeout", [30.0, None])
async def test_a_run_that_is_overtaken(recorder: Recorder, timeout: float | None) -> None:
    stage = Stage(observers=[recorder])

    @stage.handlers.on(TOPIC, timeout=timeout)
    async def waits(notification: Notification) -> None:
        run.lose()
        await anyio.sleep_forever()

    await stage.deliver()
    (run,) = await stage.processor.claim(1)
    await stage.processor.process(run)
    assert recorder.kinds == [Started, Interrupted]


async def test_a_run_that_the_end_of_the_app_cuts_off(recorder: Recorder) -> None:
    stage = Stage(observers=[recorder])

    @stage.handlers.on(TOPIC)
    async def waits(notification: Notification) -> None:
        group.cancel_scope.cancel()
        await anyio.sleep_forever()

    await stage.deliver()
    async with anyio.create_task_group() as group:
        await stage.work()
    assert recorder.kinds == [Started, Interrupted]


async def test_what_was_to_be_retried_when_the_app_ended_is_told(recorder: Recorder) -> None:
    stage = Stage(observers=[recorder])

    @stage.handlers.on(TOPIC, name="fails")
    async def fails(notification: Notification) -> None:
        raise Retry(after=60)

    @stage.handlers.on(TOPIC, name="waits")
    async def waits(notification: Notification) -> None:
        group.cancel_scope.cancel()
        await anyio.sleep_forever()

    await stage.deliver()
    async with anyio.create_task_group() as group:
        await stage.work()
    assert recorder.kinds == [Started, Failed, Started, Interrupted, Retried]


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_handler_runs_in_the_context_that_an_observer_made(asynchronous: bool) -> None:
    seen: list[str] = []

    class Scoped:
        def observe(self, step: Step, /) -> None:
            if isinstance(step, Started):
                self.token = current.set(step.handler)
            elif isinstance(step, Succeeded):
                seen.append(current.get())
                current.reset(self.token)

    stage = Stage(observers=[Scoped()])
    if asynchronous:

        @stage.handlers.on(TOPIC, name="h")
        async def handle(notification: Notification) -> None:
            seen.append(current.get())
    else:

        @stage.handlers.on(TOPIC, name="h")
        def plain(notification: Notification) -> None:
            seen.append(current.get())

    await stage.deliver()
    await stage.work()
    assert seen == ["h", "h"]
    assert current.get() == ""


async def test_an_observer_that_raises_hurts_nothing(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    intercom = Intercom(SECRET, observers=[Raising(), recorder])
    handled = anyio.Event()

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        handled.set()

    async with intercom.lifespan(Starlette()):
        assert (await deliver(intercom.webhooks, envelope())).status == 200
        with anyio.fail_after(5):
            await handled.wait()
    assert recorder.kinds == [Received, Accepted, Started, Succeeded]
    assert recorder.only(Started).trace is None
    assert [record.getMessage() for record in caplog.records if "observer" in record.getMessage()] == [
        f"The observer 'Raising' raised an exception at {step!r}; everything else goes on."
        for step in ("Received", "traceparent", "Accepted", "Started", "Succeeded")
    ]


def test_an_interrupt_ends_the_process_all_the_same() -> None:
    class Interrupting:
        def observe(self, step: Step, /) -> None:
            raise KeyboardInterrupt

        def traceparent(self) -> str | None:
            raise KeyboardInterrupt

    observers = Observers([Interrupting()])
    with pytest.raises(KeyboardInterrupt):
        observers.tell(Received())
    with pytest.raises(KeyboardInterrupt):
        observers.traceparent()


def test_the_first_tracer_that_has_a_trace_decides() -> None:
    class Idle(Recorder):
        def traceparent(self) -> str | None:
            return None

    assert Observers([Recorder(), Idle(), Tracing()]).traceparent() == TRACE
    assert Observers([Idle()]).traceparent() is None


async def test_a_trace_comes_back_with_each_attempt() -> None:
    tracing = Tracing()
    stage = Stage()
    intercom = Intercom(SECRET, inbox=stage.inbox, observers=[Recorder(), Raising(), tracing])

    @intercom.on(TOPIC)
    @stage.handlers.on(TOPIC)
    async def fails(notification: Notification) -> None:
        raise Retry(after=60)

    intercom.webhooks.open()
    await deliver(intercom.webhooks, envelope())
    stage.observers = Observers([tracing])
    stage.restart()
    await stage.work()
    stage.clock.now += 60
    await stage.work()
    assert [(step.attempt, step.trace) for step in tracing.steps if isinstance(step, Started)] == [
        (1, TRACE),
        (2, TRACE),
    ]


async def test_without_observers_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(**fields: object) -> Step:
        raise AssertionError("a step was made")

    for module in (
        starlette_intercom.receiving.webhooks,
        starlette_intercom.handling.processor,
        starlette_intercom.handling.run,
    ):
        for name in vars(every_step):
            if hasattr(module, name) and name[0].isupper():
                monkeypatch.setattr(module, name, made)
    intercom = Intercom(SECRET, inbox=(inbox := MemoryInbox()))

    @intercom.on(TOPIC, retries=0)
    async def fails(notification: Notification) -> None:
        raise ValueError

    async with intercom.lifespan(Starlette()):
        assert (await deliver(intercom.webhooks, envelope())).status == 200
        assert (await deliver(intercom.webhooks, envelope("contact.created"))).status == 200
        assert (await deliver(intercom.webhooks, envelope(), secret="another")).status == 401
    assert len(await inbox.list_dead()) == 1


async def test_events(recorder: Recorder) -> None:
    fake = FakeIntercom(contacts=["known"], limit=100)
    http_client = httpx.AsyncClient(transport=httpx.ASGITransport(fake))
    async with EventsClient(
        access_token="fake-token", base_url="http://test", http_client=http_client, observers=[recorder]
    ) as events:
        await events.track("placed-order", user_id="known")
        with pytest.raises(ContactNotFound):
            await events.track("placed-order", user_id="unknown")
        await events.track_many([Event("sent-invoice", user_id="known")])
        events.enqueue(Event("paid-invoice", user_id="known"))
    assert recorder.kinds == [RateReported, EventSent, RateReported, EventFailed, *[RateReported, EventSent] * 2]
    assert [step.name for step in recorder.steps if isinstance(step, EventSent)] == [
        "placed-order",
        "sent-invoice",
        "paid-invoice",
    ]
    failed = recorder.only(EventFailed)
    assert (failed.name, failed.error) == ("placed-order", "ContactNotFound")
    reports = [(step.limit, step.remaining) for step in recorder.steps if isinstance(step, RateReported)]
    assert reports == [(100, 99), (100, 98), (100, 97), (100, 96)]
    assert "known" not in repr(recorder.steps)


async def test_the_client_that_intercom_makes_is_observed(recorder: Recorder) -> None:
    http_client = httpx.AsyncClient(transport=httpx.ASGITransport(FakeIntercom()))
    intercom = Intercom(SECRET, access_token="fake-token", http_client=http_client, observers=[recorder])
    async with intercom.lifespan(Starlette()):
        await intercom.events.track("placed-order", user_id="1")
    assert recorder.kinds == [RateReported, EventSent]


async def test_the_kit_passes_observers_on(recorder: Recorder) -> None:
    tracing = Tracing()
    async with IntercomKit(observers=[recorder, tracing]) as kit:

        @kit.intercom.on(TOPIC)
        async def handle(notification: Notification) -> None: ...

        await kit.deliver(TOPIC)
        await kit.drain()
    assert recorder.kinds == [Received, Accepted, Started, Succeeded]
    assert recorder.only(Started).trace == TRACE


async def test_log_records_carry_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()

    @stage.handlers.on(TOPIC, retries=1, name="fails")
    async def fails(notification: Notification) -> None:
        raise ValueError("no")

    @stage.handlers.on_error
    async def hook(error: Exception) -> None:
        raise ValueError("not even that")

    delivered = await stage.deliver()
    await stage.work_off()
    for record in caplog.records:
        assert (vars(record)["delivery_id"], vars(record)["topic"]) == (delivered, TOPIC)
    attempts = [vars(record)["attempt"] for record in caplog.records if vars(record).get("handler") == "fails"]
    assert attempts == [1, 2]


@pytest.mark.parametrize(
    ("observers", "what"),
    [
        (Recorder(), "takes a sequence"),
        ([object()], "no observer"),
        ([Recorder], "no observer"),
    ],
)
async def test_what_is_no_observer_is_refused(observers: Any, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        Intercom(SECRET, observers=observers)
    with pytest.raises(ConfigurationError, match=what):
        EventsClient(access_token="token", observers=observers)


def test_steps_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Received().x = 1  # type: ignore[attr-defined]
