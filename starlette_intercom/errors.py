"""Every exception of the library, in one tree.

::

    IntercomError
    ├── ConfigurationError        wrong use of the library; the sentence says what to do
    ├── InvalidNotification       verified, but not a notification: names the field
    ├── InboxError                the record of deliveries could not do what was asked
    │   ├── InboxUnavailable      not reachable, too slow, disk full: try again later
    │   ├── InboxFull             its bound is reached: try again later
    │   └── LeaseLost             the delivery belongs to somebody else by now
    ├── Retry                     raised by a handler: run me again later
    ├── Reject                    raised by a handler: never again, to the dead letters
    └── EventError                an event did not reach Intercom
        ├── InvalidEvent          refused before it was sent: names field and reason
        ├── OutboxFull            too many events wait to be sent: try again later
        └── EventApiError         Intercom answered, or could not be reached
            ├── Unauthorized          401, 403: the access token
            ├── ContactNotFound       404: the contact must exist first
            ├── EventRejected         any other 4xx, for example 422
            ├── RateLimited           429 for longer than the deadline allows
            └── IntercomUnavailable   5xx, time-outs and broken connections
"""

from __future__ import annotations


class IntercomError(Exception):
    """Base of everything this library raises on purpose."""


class ConfigurationError(IntercomError):
    """The library was set up wrongly; raised at construction, registration or start-up."""


class InvalidNotification(IntercomError):
    """A body that is no notification.

    Attributes:
        field: path of the offending field, such as ``topic``; empty where the body is no JSON object.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class InboxError(IntercomError):
    """The inbox could not do what it was asked."""


class InboxUnavailable(InboxError):
    """The inbox cannot be reached, is too slow, or cannot write; nothing was recorded."""


class InboxFull(InboxError):
    """The inbox holds as many unfinished deliveries as it may; nothing was recorded."""


class LeaseLost(InboxError):
    """The lease that was shown is not the current one: another run owns the delivery."""


class Retry(IntercomError):
    """Raised by a handler to be run again later.

    Counts as a failed attempt. Without ``after`` the handler's own schedule decides when.

    Args:
        after: seconds from now, zero or more.
    """

    def __init__(self, after: float | None = None) -> None:
        if after is not None and not 0 <= after < float("inf"):
            raise ValueError("Retry(after=…) takes seconds from now, zero or more.")
        super().__init__("Retry" if after is None else f"Retry after {after:g} s")
        self.after = after


class Reject(IntercomError):
    """Raised by a handler to put the delivery into the dead letters at once.

    Args:
        reason: a sentence for the people who read the dead letters.
    """

    def __init__(self, reason: str = "Rejected by the handler") -> None:
        super().__init__(reason)
        self.reason = reason


class EventError(IntercomError):
    """An event did not reach Intercom."""


class InvalidEvent(EventError, ValueError):
    """An event that was refused before it was sent.

    Attributes:
        field: path of the offending field, such as ``metadata.price``.
        reason: what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class OutboxFull(EventError):
    """As many events wait to be sent as may wait; this one was not taken."""


class EventApiError(EventError):
    """Intercom refused a request of the events client, or could not be reached.

    Attributes:
        status: HTTP status of the last answer, or None where there was none.
        codes: the ``code`` of each error in the answer.
        messages: the ``message`` of each error in the answer.
        request_id: Intercom's id of the request, for its support; often missing.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        codes: tuple[str, ...] = (),
        messages: tuple[str, ...] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.codes = codes
        self.messages = messages
        self.request_id = request_id


class Unauthorized(EventApiError):
    """401 or 403: the access token is wrong, or lacks the permission to write events."""


class ContactNotFound(EventApiError):
    """404: the contact must exist at Intercom before events about it can be sent."""


class EventRejected(EventApiError):
    """Intercom understood the request and will not take it, for example 422."""


class RateLimited(EventApiError):
    """429 for longer than the deadline of the call allows.

    Attributes:
        reset_after: seconds until Intercom's window starts again, where it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = 429,
        codes: tuple[str, ...] = (),
        messages: tuple[str, ...] = (),
        request_id: str | None = None,
        reset_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, codes=codes, messages=messages, request_id=request_id)
        self.reset_after = reset_after


class IntercomUnavailable(EventApiError):
    """Intercom could not be reached, or answered with a server error, until the deadline ran out."""
