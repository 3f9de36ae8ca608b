"""The webhook sub-application: a verified notification becomes an accepted delivery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from .. import messages
from ..errors import InboxError, InvalidNotification
from ..inbox.contract import Inbox
from ..notification import Notification, VerifiedNotification, dedupe_key_of
from ..time_limit import time_limit
from .answers import ALIVE, DUPLICATE, NOT_ALLOWED, RECEIVED, TRY_LATER, Answer, not_a_notification
from .body import BodyReader, Disconnected, Refused
from .guard import answer_broken_off, answer_cut_off, refuse_websocket
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
    ) -> None:
        self._reader = reader
        self._timeout = timeout
        self._inbox = inbox
        self._handles = handles
        self._unhandled = unhandled
        self._dedupe_key = dedupe_key
        self._serialize_by = serialize_by
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
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await refuse_websocket(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            alive = scope["method"] == "HEAD"  # Intercom validates the URL with it
            await (ALIVE if alive else NOT_ALLOWED).send(scope, send, close=not alive and scope["method"] != "GET")
            return
        if not self._open:
            self._rejections.add("shutting down" if self._started_once else messages.NOT_STARTED)
            await TRY_LATER.send(scope, send, close=True)
            return
        answer: Answer | None = None
        notification: VerifiedNotification | None = None
        handled = close = True
        disconnected = False
        # One deadline for reading and accepting, since Intercom counts the time until the answer.
        with time_limit(self._timeout) as deadline:
            try:
                body = await self._reader.read(scope, receive, deadline)
                close = False
                notification = VerifiedNotification(body)
                handled = self._handles(notification.topic)
                answer = await self._accept(notification) if handled else RECEIVED
            except Refused as refusal:
                self._rejections.add(refusal.reason)
                answer, close = refusal.answer, refusal.unread
            except Disconnected:
                disconnected = True
            except InvalidNotification as error:
                self._rejections.add("verified, but not a notification")
                answer = not_a_notification(str(error))
        if answer is not None:
            await answer.send(scope, send, close=close)
            if notification is not None and not handled:
                await self._unhandled(notification)
        elif disconnected:
            await answer_broken_off(scope, send)
        elif close:
            await answer_cut_off(scope, send, deadline, self._rejections)
        else:
            self._rejections.add("the inbox was too slow")
            await TRY_LATER.send(scope, send)

    async def _accept(self, notification: VerifiedNotification) -> Answer:
        uses = self.secret_uses
        uses[notification.secret_name] = uses.get(notification.secret_name, 0) + 1
        key = self._ask(self._dedupe_key, "dedupe_key", notification) or dedupe_key_of(notification)
        group = self._ask(self._serialize_by, "serialize_by", notification)
        try:
            new = await self._inbox.accept(notification, key=key, group=group)
        except InboxError as error:
            self._rejections.add(f"the inbox did not accept it: {error}")
            return TRY_LATER
        except Exception as error:  # whatever an inbox does, the answer is 503, and Intercom tries again
            self._rejections.add(f"the inbox raised {type(error).__name__}", error)
            return TRY_LATER
        return RECEIVED if new else DUPLICATE

    def _ask(self, function: KeyFunction | None, option: str, notification: VerifiedNotification) -> str | None:
        """Call a user's function; one that fails must not keep the notification out."""
        if function is None:
            return None
        try:
            text = function(notification)
            return None if text is None else str(text)
        except Exception as error:
            self._rejections.add(f"accepted all the same, without {option}, which raised {type(error).__name__}", error)
            return None
