"""Intercom: puts the parts together and owns their lifespan."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final, Self

import anyio
from anyio.abc import TaskGroup
from starlette.datastructures import State
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Scope

from . import messages
from .errors import ConfigurationError
from .handling.processor import LEASE, Processor
from .handling.registry import HandlerRegistry
from .handling.runner import Runner, TaskGroupRunner
from .inbox.contract import Inbox, Stats
from .inbox.dead_letters import DeadLetters
from .inbox.urls import inbox_from_url
from .messages import logger
from .notification import VerifiedNotification
from .receiving.body import BodyReader
from .receiving.guard import MAX_BODY_SIZE, MAX_CONCURRENT_READS, READ_TIMEOUT, checked_read_timeout
from .receiving.signature import HUB_SIGNATURE, SecretsLike
from .receiving.webhooks import KeyFunction, Webhooks

DRAIN_TIMEOUT: Final = 20.0
"""Seconds that running handlers get to finish when the app stops."""

_TIDY_INTERVAL: Final = 60.0  # seconds
_MAX_UNHANDLED_TOPICS: Final = 1000  # so many are remembered as having been logged


class Intercom(HandlerRegistry):
    """Receives Intercom's notifications and hands them to your handlers.

    ::

        intercom = Intercom(client_secret="…", inbox="sqlite:///intercom.db")

        @intercom.on("conversation.user.created")
        async def answer(notification: Notification) -> None: ...

        app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom)])

    Args:
        client_secret: of your app in Intercom's Developer Hub; several while rotating, or by name.
        inbox: ``memory:``, ``sqlite:///path``, or an :class:`Inbox`.
        runner: where deliveries are processed; tasks of this process where not given.
        dedupe_key: the identity of a notification, where its workspace and id are not what you want.
        serialize_by: deliveries for which this returns the same text run one after the other, in the order of
            ``created_at``; None bonds nothing.
        max_body_size: bytes; larger bodies get 413.
        read_timeout: seconds for reading and accepting a notification; Intercom gives up after 5.
        max_concurrent_reads: bodies under way at once; beyond it the slowest gets 503.
        lease: seconds after which the deliveries of a process that died are run by another.
        drain_timeout: seconds that running handlers get to finish when the app stops.

    Raises:
        ConfigurationError: an option is missing or out of its range; the sentence says what to do.
    """

    handler_argument: ClassVar[str] = "intercom"

    def __init__(
        self,
        client_secret: SecretsLike,
        *,
        inbox: str | Inbox = "memory:",
        runner: Runner | None = None,
        dedupe_key: KeyFunction | None = None,
        serialize_by: KeyFunction | None = None,
        max_body_size: int = MAX_BODY_SIZE,
        read_timeout: float = READ_TIMEOUT,
        max_concurrent_reads: int = MAX_CONCURRENT_READS,
        lease: float = LEASE,
        drain_timeout: float = DRAIN_TIMEOUT,
    ) -> None:
        super().__init__()
        if not 1 <= lease < float("inf"):
            raise ConfigurationError("lease is in seconds and must be at least 1.")
        if not 0 <= drain_timeout < float("inf"):
            raise ConfigurationError("drain_timeout is in seconds and must not be negative.")
        self.inbox = inbox if isinstance(inbox, Inbox) else inbox_from_url(inbox)
        self.runner = TaskGroupRunner() if runner is None else runner
        self.dead_letters = DeadLetters(self.inbox)
        self.webhooks = Webhooks(
            reader=BodyReader(
                secrets=client_secret,
                scheme=HUB_SIGNATURE,
                max_body_size=max_body_size,
                max_concurrent_reads=max_concurrent_reads,
            ),
            timeout=checked_read_timeout(read_timeout),
            inbox=self.inbox,
            handles=self.handles,
            unhandled=self._note_unhandled,
            dedupe_key=dedupe_key,
            serialize_by=serialize_by,
        )
        self._lease = lease
        self._drain_timeout = drain_timeout
        self._started = False
        self._draining = False
        self._processor: Processor | None = None
        self._tidying: anyio.CancelScope | None = None
        self._seen_unhandled: set[str] = set()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **options: Any) -> Self:
        """Make one from environment variables.

        ``INTERCOM_CLIENT_SECRET`` (required; comma-separated while rotating), ``INTERCOM_ACCESS_TOKEN``,
        ``INTERCOM_INBOX`` and ``INTERCOM_REGION``.

        Args:
            environ: where the variables are.
            options: any other option of :class:`Intercom`; one that is given here wins.

        Raises:
            ConfigurationError: a variable is missing or has no usable value.
        """
        if "client_secret" not in options:
            secrets = [secret.strip() for secret in environ.get("INTERCOM_CLIENT_SECRET", "").split(",")]
            if not any(secrets):
                raise ConfigurationError(
                    "INTERCOM_CLIENT_SECRET is not set. Find the secret in Intercom's Developer Hub, under "
                    "Basic Information of your app."
                )
            options["client_secret"] = [secret for secret in secrets if secret]
        if environ.get("INTERCOM_INBOX"):
            options.setdefault("inbox", environ["INTERCOM_INBOX"])
        return cls(**options)

    @property
    def events(self) -> object:
        """soon"""
        return None

    @property
    def secret_uses(self) -> Mapping[str, int]:
        """How many notifications each secret has signed since the process began: shows when an old one is unused."""
        return self.webhooks.secret_uses

    async def stats(self) -> Stats:
        """Return how the inbox stands.

        Raises:
            InboxUnavailable: it cannot be reached.
        """
        return await self.inbox.stats()

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[dict[str, Any]]:
        """Run beside an app: ``Starlette(lifespan=intercom.lifespan)``, for when there is no middleware.

        Starlette runs no lifespan of mounted apps, so a mounted ``intercom.webhooks`` needs this.
        """
        await self.open({}, app)
        raised: BaseException | None = None
        try:
            async with anyio.create_task_group() as group:
                await self.start(group)
                try:
                    yield {"intercom": self}
                except BaseException as error:  # kept out of the group, which would wrap it
                    raised = error
                with anyio.CancelScope(shield=True):
                    await self.drain()
        finally:
            with anyio.CancelScope(shield=True):
                await self.close()
        if raised is not None:
            raise raised

    async def open(self, scope: Scope, app: ASGIApp) -> None:
        """Get ready, before the app starts: connect the inbox and put this object into the app's state.

        Called by the middleware and by :meth:`lifespan`.

        Raises:
            ConfigurationError: it was started already, or ``app.state.intercom`` is something else.
        """
        if self._started:
            raise ConfigurationError(
                "Intercom was started twice. Use either IntercomMiddleware or lifespan=intercom.lifespan, not both."
            )
        self._started = True
        try:
            self._bind(scope, app)
            await self.inbox.open()
        except BaseException:
            self._started = False
            raise
        if not self.inbox.durable:
            logger.warning(messages.memory_inbox())

    async def start(self, task_group: TaskGroup) -> None:
        """Begin to work, now that the app has started.

        Args:
            task_group: lives as long as the app.
        """
        self._draining = False
        self._processor = Processor(self.inbox, self, self, lease=self._lease)
        await self.runner.start(self._processor, task_group)
        self._tidying = anyio.CancelScope()
        task_group.start_soon(self._tidy, self._tidying, name="intercom-tidy")
        self.webhooks.open()

    async def drain(self) -> None:
        """Take nothing more and let running handlers finish, while the app's resources still exist.

        Does nothing the second time.
        """
        self.webhooks.close()
        if not self._draining and self._processor is not None:
            self._draining = True
            await self.runner.drain(self._drain_timeout)
            if self._tidying is not None:
                self._tidying.cancel()
            self._processor = None

    async def close(self) -> None:
        """Let go of everything, after the app has stopped."""
        self.webhooks.close()
        try:
            if not self.inbox.durable:
                stats = await self.inbox.stats()
                unfinished = stats.waiting + stats.scheduled + stats.running
                if unfinished:
                    logger.error(messages.memory_inbox_lost(unfinished))
            await self.inbox.close()
        finally:
            self._started = False

    def _bind(self, scope: Scope, app: ASGIApp) -> None:
        state = _state_of(scope.get("app", app))
        if state is not None:
            if getattr(state, "intercom", self) is not self:
                raise ConfigurationError("app.state.intercom is taken by something else: give that another name.")
            state.intercom = self
        shared = scope.get("state")
        if shared is not None:
            if shared.get("intercom", self) is not self:
                raise ConfigurationError("The lifespan state has another 'intercom' already: give that another name.")
            shared["intercom"] = self

    async def _tidy(self, until: anyio.CancelScope) -> None:
        with until:
            while True:
                await anyio.sleep(_TIDY_INTERVAL)
                try:
                    await self.inbox.tidy()
                except Exception as error:
                    logger.warning(messages.inbox_unreachable(error))

    async def _note_unhandled(self, notification: VerifiedNotification) -> None:
        topic = notification.topic
        if topic == "ping":  # always subscribed: it needs no handler
            return
        if topic not in self._seen_unhandled and len(self._seen_unhandled) < _MAX_UNHANDLED_TOPICS:
            self._seen_unhandled.add(topic)
            logger.warning(messages.unhandled(topic))
        if self._processor is not None:
            await self._processor.unhandled(notification)


def get_intercom(request: HTTPConnection) -> Intercom:
    """Return the ``Intercom`` of an app from one of its requests; serves as a FastAPI dependency.

    Raises:
        ConfigurationError: the app was started without one.
    """
    state = request.scope.get("state") or {}
    app = request.scope.get("app")
    found = state.get("intercom") or getattr(getattr(app, "state", None), "intercom", None)
    if not isinstance(found, Intercom):
        raise ConfigurationError(
            "This app has no Intercom: add IntercomMiddleware, or lifespan=intercom.lifespan, and let its lifespan run."
        )
    return found


def _state_of(app: Any) -> State | None:
    """Find ``app.state`` of a Starlette or FastAPI app, also below other middleware."""
    while app is not None:
        state = getattr(app, "state", None)
        if isinstance(state, State):
            return state
        app = getattr(app, "app", None)
    return None
