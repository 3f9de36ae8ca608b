"""Traces and metrics with OpenTelemetry (extra ``otel``).

::

    intercom = Intercom(…, observers=[OpenTelemetryObserver()])

Traces: a span ``receive`` for each request, a child of the request's span where the app has one, and a span ``process``
for each run of a handler. Both belong to **one trace**, also where the handler runs in another process: the
``traceparent`` of the first is kept in the inbox, and the second is its child. A delivery has one origin, so every
attempt is a child of it; ``intercom.attempt`` tells them apart. What a task engine may have open around the handler is
linked to it. Spans of a handler's own, of an HTTP client for example, become children of ``process``.

Metrics, with labels that stay few (a topic that is not a known one counts as ``other``):

======================================  ==========================================  ====================================
name                                    what                                        labels
======================================  ==========================================  ====================================
``intercom.webhook.answer.duration``    seconds until the answer, with a bucket at  ``outcome``
                                        the half second that Intercom asks for
``intercom.webhook.notifications``      verified notifications                      ``topic``, ``outcome``
``intercom.webhook.rejections``         requests turned away                        ``reason``, ``status``
``intercom.webhook.secret.uses``        notifications signed with each secret       ``secret`` (its name)
``intercom.delivery.wait``              seconds from acceptance, also of what was   none
                                        replayed, to the first run of a handler
``intercom.handler.duration``           seconds of a handler's run                  ``handler``, ``outcome``
``intercom.handler.runs``               runs of handlers                            ``topic``, ``handler``, ``outcome``,
                                                                                    ``error.type`` of failures
``intercom.deliveries.retried``         deliveries scheduled for another attempt    ``topic``
``intercom.deliveries.dead``            dead letters, by each handler that failed   ``topic``, ``handler``
``intercom.event.duration``             seconds until Intercom took an event        none
``intercom.events.failed``              events that Intercom did not take           ``error.type``
``intercom.rate_window.limit``          requests in Intercom's window               none
``intercom.rate_window.remaining``      what is left of it                          none
======================================  ==========================================  ====================================

How many deliveries wait is in ``await intercom.stats()``: reading it costs a query, so nothing here does it unasked.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Final

import msgspec
from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .known_topics import KNOWN_TOPICS
from .steps import (
    Accepted,
    Buried,
    Crashed,
    Duplicate,
    EventFailed,
    EventSent,
    Failed,
    Interrupted,
    RateReported,
    Received,
    Rejected,
    Retried,
    Started,
    Step,
    Succeeded,
    Unhandled,
)
from .version import __version__

_SCOPE: Final = "starlette_intercom"
_ANSWER_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_WAIT_SECONDS: Final = (0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0)
_RUN_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)

_propagator: Final = TraceContextTextMapPropagator()


class OpenTelemetryObserver:
    """Makes spans and metrics of what ``Intercom`` does.

    Args:
        tracer_provider: makes the tracer; the global one where not given.
        meter_provider: makes the meter; the global one where not given.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._spans = _Spans(trace.get_tracer(_SCOPE, __version__, tracer_provider))
        self._meters = _Meters(metrics.get_meter(_SCOPE, __version__, meter_provider))

    def observe(self, step: Step, /) -> None:
        """Begin and end spans, and count."""
        self._spans.observe(step)
        self._meters.observe(step)

    def traceparent(self) -> str | None:
        """Return the current span, for the delivery that it leads to."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get("traceparent")


class _Open(msgspec.Struct, frozen=True):
    """A span that is under way in a task.

    Attributes:
        span: the span.
        token: gives back what was current before.
        outer: what was open around it: a handler may call this very app in its own task.
    """

    span: Span
    token: Token[Context]
    outer: _Open | None


class _Spans:
    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._open: ContextVar[_Open | None] = ContextVar("intercom_span", default=None)

    def observe(self, step: Step) -> None:
        match step:
            case Received():
                self._begin(self._tracer.start_span("receive", kind=SpanKind.PRODUCER, attributes=_MESSAGING))
            case Accepted() | Duplicate():
                self._end({**_message(step.id, step.topic), "intercom.outcome": type(step).__name__.lower()})
            case Unhandled():
                self._end({"messaging.destination.name": step.topic, "intercom.outcome": "unhandled"})
            case Rejected():
                attributes = {"intercom.outcome": "rejected", "intercom.reason": step.reason}
                # What strangers send is no error of the app; what the inbox refuses is.
                self._end(attributes, error=step.reason if step.status >= 500 else None)
            case Started():
                self._begin(self._process(step))
            case Succeeded():
                self._end({"intercom.outcome": "succeeded"})
            case Failed():
                self._end({"intercom.outcome": "failed", "error.type": step.error}, error=step.error)
            case Interrupted():
                self._end({"intercom.outcome": "interrupted"})

    def _process(self, step: Started) -> Span:
        parent = context.get_current()
        around = trace.get_current_span(parent).get_span_context()
        links = []
        if step.trace is not None:
            parent = _propagator.extract({"traceparent": step.trace}, parent)
            if around.is_valid and trace.get_current_span(parent).get_span_context() != around:
                links.append(Link(around))
        attributes = {
            **_MESSAGING,
            **_message(step.id, step.topic),
            "messaging.operation.type": "process",
            "intercom.handler": step.handler,
            "intercom.attempt": step.attempt,
        }
        return self._tracer.start_span("process", parent, kind=SpanKind.CONSUMER, attributes=attributes, links=links)

    def _begin(self, span: Span) -> None:
        token = context.attach(trace.set_span_in_context(span))
        self._open.set(_Open(span, token, self._open.get()))

    def _end(self, attributes: Mapping[str, str | int], *, error: str | None = None) -> None:
        open_ = self._open.get()
        if open_ is None:
            return
        self._open.set(open_.outer)
        context.detach(open_.token)
        open_.span.set_attributes(attributes)
        if error is not None:
            open_.span.set_status(Status(StatusCode.ERROR, error))
        open_.span.end()


class _Meters:
    def __init__(self, meter: metrics.Meter) -> None:
        def seconds(name: str, description: str, buckets: tuple[float, ...]) -> metrics.Histogram:
            return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=buckets)

        self._answers = seconds("intercom.webhook.answer.duration", "Time until the answer", _ANSWER_SECONDS)
        self._waits = seconds("intercom.delivery.wait", "Time from acceptance to the first run", _WAIT_SECONDS)
        self._durations = seconds("intercom.handler.duration", "Time of a handler's run", _RUN_SECONDS)
        self._events = seconds("intercom.event.duration", "Time until Intercom took an event", _RUN_SECONDS)
        count = meter.create_counter
        self._notifications = count("intercom.webhook.notifications", "{notification}", "Verified notifications")
        self._rejections = count("intercom.webhook.rejections", "{request}", "Requests turned away")
        self._secrets = count("intercom.webhook.secret.uses", "{notification}", "Notifications by secret")
        self._runs = count("intercom.handler.runs", "{run}", "Runs of handlers")
        self._retried = count("intercom.deliveries.retried", "{delivery}", "Deliveries scheduled once more")
        self._dead = count("intercom.deliveries.dead", "{delivery}", "Dead letters, by handler")
        self._events_failed = count("intercom.events.failed", "{event}", "Events that Intercom did not take")
        self._limit = meter.create_gauge("intercom.rate_window.limit", "{request}", "Requests in Intercom's window")
        self._remaining = meter.create_gauge("intercom.rate_window.remaining", "{request}", "What is left of it")

    def observe(self, step: Step) -> None:
        match step:
            case Accepted() | Duplicate():
                self._answered(type(step).__name__.lower(), step.seconds, step.topic)
                self._secrets.add(1, {"secret": step.secret_name})
            case Unhandled():
                self._answered("unhandled", step.seconds, step.topic)
            case Rejected():
                self._answered("rejected", step.seconds, None)
                self._rejections.add(1, {"reason": step.reason, "status": step.status})
            case Started() if step.attempt == 1:
                self._waits.record(step.waited)
            case Succeeded() | Failed() | Interrupted():
                outcome = type(step).__name__.lower()
                self._durations.record(step.seconds, {"handler": step.handler, "outcome": outcome})
                self._ran(step.topic, step.handler, outcome, step.error if isinstance(step, Failed) else None)
            case Crashed():
                self._ran(step.topic, step.handler, "crashed", None)
            case Retried():
                self._retried.add(1, {"topic": _known(step.topic)})
            case Buried():
                for handler in step.handlers or ("(none)",):
                    self._dead.add(1, {"topic": _known(step.topic), "handler": handler})
            case EventSent():
                self._events.record(step.seconds)
            case EventFailed():
                self._events_failed.add(1, {"error.type": step.error})
            case RateReported():
                self._limit.set(step.limit)
                self._remaining.set(step.remaining)

    def _answered(self, outcome: str, seconds: float, topic: str | None) -> None:
        self._answers.record(seconds, {"outcome": outcome})
        if topic is not None:
            self._notifications.add(1, {"topic": _known(topic), "outcome": outcome})

    def _ran(self, topic: str, handler: str, outcome: str, error: str | None) -> None:
        labels = {"topic": _known(topic), "handler": handler, "outcome": outcome}
        self._runs.add(1, labels if error is None else {**labels, "error.type": error})


_MESSAGING: Final = {"messaging.system": "intercom"}


def _message(id: str, topic: str) -> dict[str, str | int]:
    return {"messaging.message.id": id, "messaging.destination.name": topic}


def _known(topic: str) -> str:
    return topic if topic in KNOWN_TOPICS else "other"
