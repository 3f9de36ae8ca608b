"""The webhook sub-application: a verified notification becomes an accepted delivery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from .. import messages
from ..errors import InboxError, InboxFull, InvalidNotification
from ..inbox.contract import Inbox
from ..notification import Notification, VerifiedNotification, dedupe_key_of
from ..observers import NOBODY, Observers
from ..steps import Accepted, Duplicate, Received, Rejected, Unhandled
from ..time_limit import time_limit
from .answers import ALIVE, BROKEN_OFF, DUPLICATE, NOT_ALLOWED, RECEIVED, TRY_LATER, Answer, not_a_notification
from .body import BodyReader, Disconnected, Refused
from .guard import answer_broken_off, cut_off, refuse_websocket
from .redaction import NotRedacted, RedactFunction, redacted
from .rejections import RejectionLog

KeyFunction = Callable[[Notification[Any]], "str | None"]
"""A user's function of a notification: its identity, or what it is serialized by."""


class Webhooks:
    """ASGI app that answers Intercom: mount it, or let ``IntercomMiddleware`` send one path to it.

    It accepts nothing before :meth:`open` and after :meth:`close`.

    Args:
        reader: reads and verifies bodies.
        timeout: seconds for reading and accepting together.
        inbox: where deliveries are written down.
        handles: tells whether there is a handler for a topic.
        unhandled: hears, after the answer, of a notification that no handler takes.
        dedupe_key: the identity of a notification; None for workspace and id.
        serialize_by: deliveries for which this returns the same text run one after the other.
        redact: what is stored as the item; None for what came.
        observers: hear what becomes of each notification.
    """

    def __init__(
        self,
        *,
        reader: BodyReader,
        timeout: float,
        inbox: Inbox,
        handles: Callable[[str], bool],
        unhandled: Callable[[VerifiedNotification], Awaitable[None]],
        dedupe_key: KeyFunction | None = None,
        serialize_by: KeyFunction | None = None,
        redact: RedactFunction | None = None,
        observers: Observers = NOBODY,
    ) -> None:
        self._reader = reader
        self._timeout = timeout
        self._inbox = inbox
        self._handles = handles
        self._unhandled = unhandled
        self._dedupe_key = dedupe_key
        self._serialize_by = serialize_by
        self._redact = redact
        self._observers = observers
        self._observed = bool(observers)
        self._rejections = RejectionLog()
        self._open = False
        self._started_once = False
        self.secret_uses: dict[str, int] = {}

    @property
    def accepting(self) -> bool:
        """Notifications are taken now."""
        return self._open

    def open(self) -> None:
        """Accept notifications from now on."""
        self._open = self._started_once = True

    def close(self) -> None:
        """Answer 503 from now on."""
        self._open = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket":
            await refuse_websocket(receive, send)
        if scope["type"] != "http":
            return
        if scope["method"] != "POST":
            alive = scope["method"] == "HEAD"  # Intercom validates the URL with it
            await (ALIVE if alive else NOT_ALLOWED).send(scope, send, close=not alive and scope["method"] != "GET")
            return
        began = 0.0  # only observers ask how long it took
        if self._observed:
            began = anyio.current_time()
            self._observers.tell(Received())
        if not self._open:
            if self._started_once:
                self._rejected(TRY_LATER, began, "shutting down")
            else:
                self._rejected(TRY_LATER, began, "not started", log=messages.NOT_STARTED)
            await TRY_LATER.send(scope, send, close=True)
            return
        answer: Answer | None = None
        notification: VerifiedNotification | None = None
        handled = close = True
        disconnected = False
        try:
            # One deadline for reading and accepting, since Intercom counts the time until the answer.
            with time_limit(self._timeout) as deadline:
                try:
                    body = await self._reader.read(scope, receive, deadline)
                    close = False
                    notification = VerifiedNotification(body)
                    handled = self._handles(notification.topic)
                    answer = await self._accept(notification, began) if handled else self._passed(notification, began)
                except Refused as refusal:
                    answer, close = self._rejected(refusal.answer, began, refusal.reason), refusal.unread
                except Disconnected:
                    disconnected = True
                except InvalidNotification as error:
                    answer = self._rejected(not_a_notification(str(error)), began, "verified, but not a notification")
        except BaseException:  # told all the same: each request that was received ends for the observers
            self._tell_rejected("the server ended the request", 0, began)
            raise
        if answer is not None:
            await answer.send(scope, send, close=close)
            if notification is not None and not handled:
                await self._unhandled(notification)
        elif disconnected:
            self._tell_rejected("the body broke off", BROKEN_OFF.status, began)
            await answer_broken_off(scope, send)
        elif close:
            answer, reason = cut_off(deadline)
            await self._rejected(answer, began, reason).send(scope, send, close=True)
        else:
            await self._rejected(TRY_LATER, began, "the inbox was too slow").send(scope, send)

    async def _accept(self, notification: VerifiedNotification, began: float) -> Answer:
        topic, secret_name = notification.topic, notification.secret_name
        self.secret_uses[secret_name] = self.secret_uses.get(secret_name, 0) + 1
        key = group = None
        if self._dedupe_key is not None:
            key = self._ask(self._dedupe_key, "dedupe_key", notification)
        if self._serialize_by is not None:
            group = self._ask(self._serialize_by, "serialize_by", notification)
        key = key or dedupe_key_of(notification)
        if self._redact is not None:  # after key and group, which are those of what came
            try:
                notification = redacted(notification, self._redact)
            except NotRedacted as failure:
                return self._rejected(TRY_LATER, began, "not redacted", log=str(failure))
        trace = self._observers.traceparent() if self._observed else None
        try:
            new = await self._inbox.accept(notification, key=key, group=group, trace=trace)
        except InboxError as error:
            reason = "the inbox is full" if isinstance(error, InboxFull) else "the inbox is unavailable"
            return self._rejected(TRY_LATER, began, reason, log=f"the inbox did not accept it: {error}")
        except Exception as error:  # whatever an inbox does, the answer is 503, and Intercom tries again
            kind = type(error).__name__
            return self._rejected(TRY_LATER, began, "the inbox failed", log=f"the inbox raised {kind}", error=error)
        if self._observed:
            step = Accepted if new else Duplicate
            seconds = anyio.current_time() - began
            self._observers.tell(step(id=key, topic=topic, seconds=seconds, secret_name=secret_name))
        return RECEIVED if new else DUPLICATE

    def _passed(self, notification: VerifiedNotification, began: float) -> Answer:
        """Take notice of a notification that no handler takes."""
        if self._observed:
            self._observers.tell(Unhandled(topic=notification.topic, seconds=anyio.current_time() - began))
        return RECEIVED

    def _rejected(
        self, answer: Answer, began: float, reason: str, *, log: str | None = None, error: Exception | None = None
    ) -> Answer:
        """Say why a notification is not taken.

        Args:
            answer: what it gets; is returned.
            began: when the request began.
            reason: one of a fixed set, for the observers.
            log: what the log says, where that is more than the reason.
            error: a defect behind it, whose traceback is logged.
        """
        self._rejections.add(reason if log is None else log, error)
        self._tell_rejected(reason, answer.status, began)
        return answer

    def _tell_rejected(self, reason: str, status: int, began: float) -> None:
        if self._observed:
            self._observers.tell(Rejected(reason=reason, status=status, seconds=anyio.current_time() - began))

    def _ask(self, function: KeyFunction, option: str, notification: VerifiedNotification) -> str | None:
        """Call a user's function; one that fails must not keep the notification out."""
        try:
            text = function(notification)
            return None if text is None else str(text)
        except Exception as error:
            self._rejections.add(f"accepted all the same, without {option}, which raised {type(error).__name__}", error)
            return None
