"""What observers hear of: one frozen value for each step of a notification, of a handler's run and of an event.

Steps carry ids, topics and names; never a payload, a secret, a signature, or the text of an error. Each is told in the
task in which it happens, before that task goes on:

* of a request, :class:`Received` and then exactly one of :class:`Rejected`, :class:`Accepted`, :class:`Duplicate` and
  :class:`Unhandled`;
* of a handler's run, :class:`Started` and then exactly one of :class:`Succeeded`, :class:`Failed` and
  :class:`Interrupted`.

So an observer may keep something in a context variable from the first to the last, such as a span: an asynchronous
handler runs in that context, and a plain function in a copy of it in its thread.
"""

from __future__ import annotations

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened: the base of all steps."""


class Received(Step, frozen=True, kw_only=True, gc=False):
    """A request with a notification began; nothing of it has been read or verified."""


class Rejected(Step, frozen=True, kw_only=True, gc=False):
    """A request was not let in, or what it brought could not be written down.

    Attributes:
        reason: one of a fixed set of short texts, so that they can be counted.
        status: of the answer; 0 where there was none, since the server ended the request.
        seconds: from the beginning of the request until the answer was known.
    """

    reason: str
    status: int
    seconds: float


class Accepted(Step, frozen=True, kw_only=True, gc=False):
    """A notification was written down and will be handled.

    Attributes:
        id: of the delivery.
        topic: of the notification.
        seconds: from the beginning of the request until the answer was known; Intercom counts 5 as a failure, and asks
            for 0.5.
        secret_name: which secret signed it.
    """

    id: str
    topic: str
    seconds: float
    secret_name: str


class Duplicate(Step, frozen=True, kw_only=True, gc=False):
    """A notification came that is known already; nothing follows.

    Attributes:
        id: of the delivery.
        topic: of the notification.
        seconds: from the beginning of the request until the answer was known.
        secret_name: which secret signed it.
    """

    id: str
    topic: str
    seconds: float
    secret_name: str


class Unhandled(Step, frozen=True, kw_only=True, gc=False):
    """A notification came that no handler takes; it was not written down.

    Attributes:
        topic: of the notification.
        seconds: from the beginning of the request until the answer was known.
    """

    topic: str
    seconds: float


class Started(Step, frozen=True, kw_only=True, gc=False):
    """A handler begins to run.

    Attributes:
        id: of the delivery.
        topic: of its notification.
        handler: the handler's name.
        attempt: which run of the delivery this is, counted from 1.
        waited: seconds since the delivery was accepted.
        trace: the ``traceparent`` that a :class:`~starlette_intercom.Tracer` gave when it was accepted, perhaps in
            another process.
    """

    id: str
    topic: str
    handler: str
    attempt: int
    waited: float
    trace: str | None = None


class Succeeded(Step, frozen=True, kw_only=True, gc=False):
    """A handler has done its work for a delivery.

    Attributes:
        id: of the delivery.
        topic: of its notification.
        handler: the handler's name.
        attempt: which run of the delivery this is, counted from 1.
        seconds: how long the handler ran.
    """

    id: str
    topic: str
    handler: str
    attempt: int
    seconds: float


class Failed(Step, frozen=True, kw_only=True, gc=False):
    """A handler failed, or ran out of time; :class:`Retried` or :class:`Buried` follows for its delivery.

    Attributes:
        id: of the delivery.
        topic: of its notification.
        handler: the handler's name.
        attempt: which run of the delivery this is, counted from 1.
        seconds: how long the handler ran.
        error: the name of the exception's type.
    """

    id: str
    topic: str
    handler: str
    attempt: int
    seconds: float
    error: str


class Interrupted(Step, frozen=True, kw_only=True, gc=False):
    """A handler was stopped, or given up on, and counts as not run: the app stops, or another process has taken over.

    Attributes:
        id: of the delivery.
        topic: of its notification.
        handler: the handler's name.
        attempt: which run of the delivery this is, counted from 1.
        seconds: how long the handler ran.
    """

    id: str
    topic: str
    handler: str
    attempt: int
    seconds: float


class Crashed(Step, frozen=True, kw_only=True, gc=False):
    """An earlier attempt never reported, as its process was killed; told when its delivery is taken up again.

    Attributes:
        id: of the delivery.
        topic: of its notification.
        handler: the name of the handler that ran then.
        attempt: the attempt that never reported.
    """

    id: str
    topic: str
    handler: str
    attempt: int


class Retried(Step, frozen=True, kw_only=True, gc=False):
    """A delivery was scheduled for its next attempt.

    Attributes:
        id: of the delivery.
        topic: of its notification.
        after: seconds until then.
    """

    id: str
    topic: str
    after: float


class Buried(Step, frozen=True, kw_only=True, gc=False):
    """A delivery became a dead letter.

    Attributes:
        id: of the delivery.
        topic: of its notification.
        handlers: names of the handlers that failed for good; none where the topic's handlers are gone from the code.
    """

    id: str
    topic: str
    handlers: tuple[str, ...]


class EventSent(Step, frozen=True, kw_only=True, gc=False):
    """Intercom has taken an event.

    Attributes:
        name: of the event.
        seconds: for all tries, with the waits for the rate window.
    """

    name: str
    seconds: float


class EventFailed(Step, frozen=True, kw_only=True, gc=False):
    """Intercom did not take an event before its deadline; one that was enqueued may be tried again later.

    Attributes:
        name: of the event.
        error: the name of the exception's type.
    """

    name: str
    error: str


class RateReported(Step, frozen=True, kw_only=True, gc=False):
    """An answer of Intercom told how much is left of the present rate window.

    Attributes:
        limit: requests in a window.
        remaining: how many are left in this one.
    """

    limit: int
    remaining: int
