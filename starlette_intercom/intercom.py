"""Intercom: puts the parts together and owns their lifespan."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import anyio
from anyio.abc import TaskGroup, TaskStatus
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Scope

from . import messages
from .app_state import bind_to_app
from .errors import ConfigurationError
from .events import EventsClient, HttpClient, SQLiteOutbox
from .events.http import Region
from .handling.arguments import is_asynchronous, refuse_generator
from .handling.leases import LEASE
from .handling.processor import Processor
from .handling.registry import HandlerRegistry
from .handling.runner import Runner, TaskGroupRunner
from .health import Health, HealthEndpoint, health_of
from .inbox.contract import Inbox, Stats
from .inbox.dead_letters import DeadLetters
from .inbox.sqlite import SQLiteInbox
from .inbox.urls import inbox_from_url
from .messages import logger
from .notification import VerifiedNotification
from .observers import Observer, Observers
from .receiving.body import BodyReader
from .receiving.guard import MAX_BODY_SIZE, MAX_CONCURRENT_READS, READ_TIMEOUT, checked_read_timeout
from .receiving.redaction import RedactFunction
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
        access_token: of your app, only for sending events.
        inbox: ``memory:``, ``sqlite:///path``, or an :class:`Inbox`.
        runner: where deliveries are processed; tasks of this process where not given.
        region: where your workspace is hosted: ``us``, ``eu`` or ``au``; only for sending events.
        http_client: your own ``httpx.AsyncClient`` for sending events; it is not closed.
        events: an :class:`EventsClient` of your own, instead of access token, region and HTTP client.
        dedupe_key: the identity of a notification, where its workspace and id are not what you want.
        serialize_by: deliveries for which this returns the same text run one after the other, in the order of
            ``created_at``; None bonds nothing.
        redact: what is stored as ``data.item``, and so what handlers see: anything that msgspec encodes as JSON. Where
            it raises, nothing is stored, and Intercom is asked to try again. Like the two above, a plain function of
            the notification that takes no time, since Intercom waits for its answer meanwhile.
        max_body_size: bytes; larger bodies get 413.
        read_timeout: seconds for reading and accepting a notification; Intercom gives up after 5.
        max_concurrent_reads: bodies under way at once; beyond it the slowest gets 503.
        lease: seconds after which the deliveries of a process that died are run by another.
        drain_timeout: seconds that running handlers get to finish when the app stops.
        observers: hear what becomes of each notification, delivery and event; :mod:`starlette_intercom.steps` says
            of what. ``events=`` of your own has its own.
        dead_letter_retention: seconds after which dead letters are erased; None keeps them until they are replayed,
            purged or forgotten.

    Raises:
        ConfigurationError: an option is missing or out of its range; the sentence says what to do.
    """

    handler_argument: ClassVar[str] = "intercom"

    def __init__(
        self,
        client_secret: SecretsLike,
        *,
        access_token: str | None = None,
        inbox: str | Inbox = "memory:",
        runner: Runner | None = None,
        region: Region = "us",
        http_client: HttpClient | None = None,
        events: EventsClient | None = None,
        dedupe_key: KeyFunction | None = None,
        serialize_by: KeyFunction | None = None,
        redact: RedactFunction | None = None,
        max_body_size: int = MAX_BODY_SIZE,
        read_timeout: float = READ_TIMEOUT,
        max_concurrent_reads: int = MAX_CONCURRENT_READS,
        lease: float = LEASE,
        drain_timeout: float = DRAIN_TIMEOUT,
        observers: Sequence[Observer] = (),
        dead_letter_retention: float | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= lease < float("inf"):
            raise ConfigurationError("lease is in seconds and must be at least 1.")
        if not 0 <= drain_timeout < float("inf"):
            raise ConfigurationError("drain_timeout is in seconds and must not be negative.")
        if dead_letter_retention is not None and not 0 < dead_letter_retention < float("inf"):
            raise ConfigurationError("dead_letter_retention is in seconds and must be positive, or None.")
        _check_plain(dedupe_key=dedupe_key, serialize_by=serialize_by, redact=redact)
        self.inbox = inbox if isinstance(inbox, Inbox) else inbox_from_url(inbox)
        self.runner = TaskGroupRunner() if runner is None else runner
        self.runner.bind(self.lifespan)
        self.dead_letters = DeadLetters(self.inbox)
        self._observers = Observers(observers)
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
            redact=redact,
            observers=self._observers,
        )
        self._events = _events_client(events, access_token, region, http_client, self.inbox, observers)
        self.health_endpoint = HealthEndpoint(self.health)
        self._lease = lease
        self._drain_timeout = drain_timeout
        self._dead_letter_retention = dead_letter_retention
        self._started: _Start | None = None
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
        for option in ("access_token", "inbox", "region"):
            value = environ.get(f"INTERCOM_{option.upper()}")
            if value and not (option == "access_token" and "events" in options):  # a client of one's own has its own
                options.setdefault(option, value)
        return cls(**options)

    @property
    def events(self) -> EventsClient:
        """The client of the Data Events API; it can send while the app's lifespan runs.

        Raises:
            ConfigurationError: there is no access token.
        """
        if self._events is None:
            raise ConfigurationError(
                "Events need an access token: Intercom(…, access_token=…), or INTERCOM_ACCESS_TOKEN with from_env()."
            )
        return self._events

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

    async def health(self) -> Health:
        """Return whether notifications are taken, the inbox is reachable and deliveries are processed."""
        return await health_of(self.inbox, accepting=self.webhooks.accepting, runner_alive=self.runner.alive)

    async def forget(self, contact_id: str) -> int:
        """Erase what the inbox holds about a contact: every delivery whose item has this value anywhere.

        What waits is not handled any more, a run that is under way is stopped when its lease would be renewed, and
        dead letters are gone. Their keys stay known, so that no copy brings the payload back. Completed deliveries
        have no payload. What the contact's events in the outbox say, and what your handlers stored, is not touched.

        Args:
            contact_id: Intercom's id of the contact; or any other value that stands for it, such as an email address.

        Returns:
            How many deliveries were erased.

        Raises:
            ConfigurationError: the value is empty, which would fit what has nothing to do with the contact.
            InboxUnavailable: the inbox cannot be reached; some may be erased already, so call it again.
        """
        if not contact_id:
            raise ConfigurationError("forget() needs the id of a contact.")
        return await self.inbox.forget(contact_id)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[dict[str, Any]]:
        """Run beside an app: ``Starlette(lifespan=intercom.lifespan)``, for when there is no middleware.

        Starlette runs no lifespan of mounted apps, so a mounted ``intercom.webhooks`` needs this.
        """
        raised: BaseException | None = None
        async with anyio.create_task_group() as group:
            try:
                await self.open({}, app, group)
                try:
                    await self.start()
                    yield {"intercom": self}
                finally:
                    with anyio.CancelScope(shield=True):
                        await self.drain()
                        await self.close()
            except BaseException as error:
                raised = error
        if raised is not None:  # kept out of the group, which would wrap it
            raise raised

    async def open(self, scope: Scope, app: ASGIApp, task_group: TaskGroup) -> None:
        """Get ready, before the app starts: connect, and put this object into the app's state.

        Called by the middleware and by :meth:`lifespan`.

        Args:
            scope: of the lifespan; empty where there is none.
            app: whose state is used where the scope names no app.
            task_group: lives until after :meth:`close`.

        Raises:
            ConfigurationError: it was started already, or ``app.state.intercom`` is something else.
        """
        if self._started is not None:
            raise ConfigurationError(
                "Intercom was started twice. Use either IntercomMiddleware or lifespan=intercom.lifespan, not both."
            )
        self._started = _Start(scope, app, *await task_group.start(_host))
        try:
            bind_to_app(self, scope, app)
            await self.inbox.open()
            if self._events is not None:
                await self._started.group.start(self._events.run)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.close()
            raise
        if not self.inbox.durable:
            logger.warning(messages.memory_inbox())

    async def start(self) -> None:
        """Begin to work, now that the app has started."""
        started = self._started
        if started is None:
            raise ConfigurationError("Intercom was not opened: use IntercomMiddleware, or lifespan=intercom.lifespan.")
        bind_to_app(self, started.lifespan, started.app)  # again: the app's own start may have taken the name
        started.processor = Processor(self.inbox, self, self, lease=self._lease, observers=self._observers)
        await self.runner.start(started.processor, started.group)
        started.group.start_soon(self._tidy, name="intercom-tidy")
        self.webhooks.open()

    async def drain(self) -> None:
        """Take nothing more and let running handlers finish, while the app's resources still exist.

        Afterwards what was enqueued is sent to Intercom. Both together take ``drain_timeout`` seconds at the most.
        Does nothing the second time.
        """
        self.webhooks.close()
        started = self._started
        if started is None or started.processor is None:
            return
        started.processor = None
        deadline = anyio.current_time() + self._drain_timeout
        await self.runner.drain(self._drain_timeout)
        if self._events is not None:
            await self._events.flush(max(0.0, deadline - anyio.current_time()))

    async def close(self) -> None:
        """Let go of everything, after the app has stopped. Does nothing where it was not opened."""
        started, self._started = self._started, None
        if started is None:
            return
        self.webhooks.close()
        started.scope.cancel()
        await started.ended.wait()
        if not self.inbox.durable:
            stats = await self.inbox.stats()
            unfinished = stats.waiting + stats.scheduled + stats.running
            if unfinished:
                logger.error(messages.memory_inbox_lost(unfinished))
        await self.inbox.close()

    async def _tidy(self) -> None:
        while True:
            await anyio.sleep(_TIDY_INTERVAL)
            try:
                await self.inbox.tidy()
                if self._dead_letter_retention is not None:
                    purged = await self.inbox.purge(older_than=self._dead_letter_retention)
                    if purged:
                        logger.warning(messages.dead_letters_expired(purged))
            except Exception as error:  # an inbox that is away is tidied later
                logger.warning(messages.inbox_unreachable(error))

    async def _note_unhandled(self, notification: VerifiedNotification) -> None:
        topic = notification.topic
        if topic == "ping":  # always subscribed: it needs no handler
            return
        if topic not in self._seen_unhandled and len(self._seen_unhandled) < _MAX_UNHANDLED_TOPICS:
            self._seen_unhandled.add(topic)
            logger.warning(messages.unhandled(topic), extra={"topic": topic})
        if self._started is not None and self._started.processor is not None:
            await self._started.processor.unhandled(notification)


@dataclass(slots=True)
class _Start:
    """What exists from one opening to the closing after it.

    Attributes:
        lifespan: the scope of the lifespan.
        app: what was started.
        scope: around all tasks of the library; an inner one, since cancelling the one outside would end the app's
            lifespan.
        group: the tasks.
        ended: they have all ended.
        processor: while deliveries are processed.
    """

    lifespan: Scope
    app: ASGIApp
    scope: anyio.CancelScope
    group: TaskGroup
    ended: anyio.Event
    processor: Processor | None = None


async def _host(*, task_status: TaskStatus[tuple[anyio.CancelScope, TaskGroup, anyio.Event]]) -> None:
    ended = anyio.Event()
    try:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                task_status.started((scope, group, ended))
                await anyio.sleep_forever()
    finally:
        ended.set()


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


def _check_plain(**options: object) -> None:
    """Refuse what would not give its answer when it is called."""
    for name, function in options.items():
        if function is None:
            continue
        if not callable(function) or is_asynchronous(function):
            raise ConfigurationError(
                f"{name} takes a plain function of the notification, not an async one: Intercom waits meanwhile."
            )
        refuse_generator(function)


def _events_client(
    given: EventsClient | None,
    access_token: str | None,
    region: Region,
    http_client: HttpClient | None,
    inbox: Inbox,
    observers: Sequence[Observer],
) -> EventsClient | None:
    if given is not None:
        if access_token is not None or http_client is not None:
            raise ConfigurationError("Give either events=EventsClient(…), or access_token and http_client.")
        return given
    if access_token is None:
        return None
    # What is enqueued lies beside the inbox, so that it survives a crash where the inbox does.
    outbox = SQLiteOutbox(inbox.path) if isinstance(inbox, SQLiteInbox) else None
    return EventsClient(
        access_token=access_token, region=region, http_client=http_client, outbox=outbox, observers=observers
    )
