"""OpenTelemetry: one trace from a request to its handler, and metrics whose labels stay few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette

from starlette_intercom import (
    Backoff,
    Buried,
    Crashed,
    EventFailed,
    EventSent,
    Inbox,
    Intercom,
    Interrupted,
    Notification,
    RateReported,
    Reject,
    Retry,
    SQLiteInbox,
    Started,
    Succeeded,
)
from starlette_intercom.otel import OpenTelemetryObserver
from tests.asgi import deliver
from tests.factories import SECRET, TOPIC, envelope
from tests.handling.faulty import FaultyInbox
from tests.handling.kit import Stage

pytestmark = pytest.mark.anyio


class Telemetry:
    """One process with its own exporters."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.observer = OpenTelemetryObserver(tracer_provider=self.tracers, meter_provider=self.meters)

    def spans(self, name: str) -> Sequence[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span

    def points(self, name: str) -> Iterator[tuple[dict[str, Any], Any]]:
        data = self.reader.get_metrics_data()
        assert data is not None
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        for point in metric.data.data_points:
                            yield dict(point.attributes or {}), point

    def counts(self, name: str) -> list[tuple[dict[str, Any], float]]:
        values = []
        for labels, point in self.points(name):
            assert isinstance(point, NumberDataPoint)
            values.append((labels, point.value))
        return values

    def histogram(self, name: str) -> list[tuple[dict[str, Any], HistogramDataPoint]]:
        return list(self.points(name))

    def close(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def here() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.close()


@pytest.fixture
def there() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.close()


def ids_of(span: ReadableSpan) -> tuple[int, int]:
    found = span.get_span_context()
    assert found is not None
    return found.trace_id, found.span_id


async def test_a_request_and_its_handler_in_another_process_are_one_trace(
    here: Telemetry, there: Telemetry, tmp_path: Path
) -> None:
    """The first Intercom only receives; the second, with an object and a connection of its own, handles."""
    path = tmp_path / "inbox.db"
    web = Intercom(SECRET, inbox=SQLiteInbox(path), observers=[here.observer])
    worker = Intercom(SECRET, inbox=SQLiteInbox(path), observers=[there.observer])
    handled = anyio.Event()

    @web.on(TOPIC)
    async def never_here(notification: Notification) -> None:
        raise AssertionError

    @worker.on(TOPIC, backoff=Backoff(base=0.01, cap=0.01), name="handle")
    async def handle(notification: Notification) -> None:
        with there.tracers.get_tracer("of the app").start_as_current_span("look up"):
            pass
        if len(there.spans("process")) == 0:
            raise Retry
        handled.set()

    await web.inbox.open()
    web.webhooks.open()  # and no runner: nothing is handled here
    with here.tracers.get_tracer("of the server").start_as_current_span("POST /webhooks/intercom"):
        assert (await deliver(web.webhooks, envelope())).status == 200
    web.webhooks.close()
    await web.inbox.close()
    async with worker.lifespan(Starlette()):
        with anyio.fail_after(20):
            await handled.wait()

    request, receive = here.span("POST /webhooks/intercom"), here.span("receive")
    first, second = there.spans("process")
    inner = there.spans("look up")
    every = [request, receive, first, second, *inner]
    assert len({ids_of(span)[0] for span in every}) == 1, "one trace"
    assert len({ids_of(span)[1] for span in every}) == len(every)
    parents = [span.parent.span_id if span.parent is not None else None for span in every]
    origin = ids_of(receive)[1]
    assert parents == [None, ids_of(request)[1], origin, origin, ids_of(first)[1], ids_of(second)[1]]
    assert first.parent is not None
    assert first.parent.is_remote
    assert (receive.kind, first.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert [dict(span.attributes or {})["intercom.attempt"] for span in (first, second)] == [1, 2]
    assert [span.status.status_code for span in (first, second)] == [StatusCode.ERROR, StatusCode.UNSET]
    assert first.attributes == {
        "messaging.system": "intercom",
        "messaging.message.id": "workspace1:notif_1",
        "messaging.destination.name": TOPIC,
        "messaging.operation.type": "process",
        "intercom.handler": "handle",
        "intercom.attempt": 1,
        "intercom.outcome": "failed",
        "error.type": "Retry",
    }


async def test_a_plain_function_runs_in_its_span(here: Telemetry) -> None:
    stage = Stage(observers=[here.observer])
    seen = []

    @stage.handlers.on(TOPIC)
    def plain(notification: Notification) -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)

    await stage.deliver()
    await stage.work()
    assert seen == [ids_of(here.span("process"))[1]]
    assert not trace.get_current_span().get_span_context().is_valid


async def test_what_is_open_around_a_handler_is_linked(here: Telemetry) -> None:
    stage = Stage(observers=[here.observer])
    trace_of_old = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with here.tracers.get_tracer("of an engine").start_as_current_span("task"):
        for traced in (trace_of_old, None, "not a trace"):
            step = Started(id="1", topic=TOPIC, handler="h", attempt=1, waited=0, trace=traced)
            here.observer.observe(step)
            here.observer.observe(Succeeded(id="1", topic=TOPIC, handler="h", attempt=1, seconds=0))
    first, second, third = here.spans("process")
    task = ids_of(here.span("task"))
    assert f"{ids_of(first)[0]:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert [link.context.span_id for link in first.links] == [task[1]]
    for span in (second, third):
        assert ids_of(span)[0] == task[0]
        assert span.parent is not None
        assert span.parent.span_id == task[1]
    await stage.inbox.close()


async def test_no_span_stays_open(here: Telemetry) -> None:
    stage = Stage(observers=[here.observer])

    @stage.handlers.on(TOPIC)
    async def waits(notification: Notification) -> None:
        group.cancel_scope.cancel()
        await anyio.sleep_forever()

    await stage.deliver()
    async with anyio.create_task_group() as group:
        await stage.work()
    assert dict(here.span("process").attributes or {})["intercom.outcome"] == "interrupted"
    assert here.observer.traceparent() is None


async def test_a_handler_that_calls_the_app_itself(here: Telemetry) -> None:
    intercom = Intercom(SECRET, observers=[here.observer])
    seen: list[str | None] = []

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        if not seen:
            seen.append(here.observer.traceparent())
            await deliver(intercom.webhooks, envelope(id="another"))
            seen.append(here.observer.traceparent())

    async with intercom.lifespan(Starlette()):
        await deliver(intercom.webhooks, envelope())
        with anyio.fail_after(5):
            while len(here.spans("process")) < 2:
                await anyio.sleep(0.001)
    assert seen[0] == seen[1] is not None
    assert len(here.spans("receive")) == 2
    assert len({ids_of(span)[0] for span in here.exporter.get_finished_spans()}) == 1


async def receive_all(here: Telemetry, inbox: Inbox) -> None:
    intercom = Intercom({"old": SECRET, "new": "another"}, inbox=inbox, observers=[here.observer])

    @intercom.on(TOPIC, "made.up", retries=0)
    async def rejects(notification: Notification) -> None:
        raise Reject("no")

    async with intercom.lifespan(Starlette()):
        for body in (envelope(), envelope(), envelope("made.up", id="2"), envelope("contact.created")):
            assert (await deliver(intercom.webhooks, body)).status == 200
        await deliver(intercom.webhooks, envelope(id="3"), secret="another")
        await deliver(intercom.webhooks, envelope(), secret="a stranger's")
        if isinstance(inbox, FaultyInbox):
            inbox.will("accept", "unavailable")
        await deliver(intercom.webhooks, envelope(id="4"))
        with anyio.fail_after(5):
            while (await intercom.stats()).dead < 3:
                await anyio.sleep(0.001)


async def test_what_is_received_is_counted(here: Telemetry) -> None:
    await receive_all(here, FaultyInbox(Stage().inbox))
    assert sorted(here.counts("intercom.webhook.notifications"), key=str) == sorted(
        [
            ({"topic": TOPIC, "outcome": "accepted"}, 2),
            ({"topic": TOPIC, "outcome": "duplicate"}, 1),
            ({"topic": "other", "outcome": "accepted"}, 1),
            ({"topic": "contact.created", "outcome": "unhandled"}, 1),
        ],
        key=str,
    )
    assert here.counts("intercom.webhook.secret.uses") == [({"secret": "old"}, 3), ({"secret": "new"}, 1)]
    assert here.counts("intercom.webhook.rejections") == [
        ({"reason": "the signature does not match", "status": 401}, 1),
        ({"reason": "the inbox is unavailable", "status": 503}, 1),
    ]
    answers = here.histogram("intercom.webhook.answer.duration")
    assert {labels["outcome"]: point.count for labels, point in answers} == {
        "accepted": 3,
        "duplicate": 1,
        "unhandled": 1,
        "rejected": 2,
    }
    assert all(0.5 in point.explicit_bounds for _, point in answers)
    ((_, waits),) = here.histogram("intercom.delivery.wait")
    assert waits.count == 3
    assert len(here.counts("intercom.handler.runs")) == 2
    for labels, count in here.counts("intercom.handler.runs"):
        assert labels["error.type"] == "Reject"
        assert count == {TOPIC: 2, "other": 1}[labels["topic"]]
    errors = [span for span in here.spans("receive") if span.status.status_code is StatusCode.ERROR]
    assert [dict(span.attributes or {})["intercom.reason"] for span in errors] == ["the inbox is unavailable"]


async def test_retries_and_dead_letters_are_counted(here: Telemetry) -> None:
    stage = Stage(observers=[here.observer])

    @stage.handlers.on(TOPIC, retries=1, name="fails")
    async def fails(notification: Notification) -> None:
        raise ValueError("no")

    await stage.deliver()
    await stage.work_off()
    assert here.counts("intercom.deliveries.retried") == [({"topic": TOPIC}, 1)]
    assert here.counts("intercom.deliveries.dead") == [({"topic": TOPIC, "handler": "fails"}, 1)]
    assert here.counts("intercom.handler.runs") == [
        ({"topic": TOPIC, "handler": "fails", "outcome": "failed", "error.type": "ValueError"}, 2)
    ]


def test_the_rest_is_counted(here: Telemetry) -> None:
    observe = here.observer.observe
    observe(Buried(id="1", topic="x" * 200, handlers=()))
    observe(Crashed(id="1", topic=TOPIC, handler="h", attempt=1))
    observe(Interrupted(id="1", topic=TOPIC, handler="h", attempt=1, seconds=1))
    observe(EventSent(name="placed-order", seconds=0.2))
    observe(EventFailed(name="placed-order", error="ContactNotFound"))
    assert here.counts("intercom.deliveries.dead") == [({"topic": "other", "handler": "(none)"}, 1)]
    assert [labels["outcome"] for labels, _ in here.counts("intercom.handler.runs")] == ["crashed", "interrupted"]
    ((_, sent),) = here.histogram("intercom.event.duration")
    assert sent.count == 1
    assert here.counts("intercom.events.failed") == [({"error.type": "ContactNotFound"}, 1)]
    observe(RateReported(limit=1667, remaining=1600))  # older SDKs show a gauge once: in the next collection
    assert here.counts("intercom.rate_window.limit") == [({}, 1667)]
    observe(RateReported(limit=1667, remaining=1600))
    assert here.counts("intercom.rate_window.remaining") == [({}, 1600)]
