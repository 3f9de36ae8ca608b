"""`EventsClient`: the app tells Intercom what its users did."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import ClassVar, Self

import anyio
from anyio.abc import TaskStatus

from ..errors import ConfigurationError, InvalidEvent
from .background import Enqueued, EventsStatistics
from .bulk import BulkRun, Events, OutcomeStream, StreamEnding, Tally, run_stream
from .collisions import OnCollision
from .event import Event, MetadataValue
from .http import MAX_CONNECTIONS, HttpClient, Region, base_address, request_headers
from .names import NameCheck
from .outbox import MemoryOutbox, Outbox
from .outcomes import Outcome, Progress, TrackResult
from .reading import EventListing, EventSummary, encode_summary, query_path, read_summaries
from .running import Running, Settings, running
from .validation import check_text, encode_event, unix_seconds

logger = logging.getLogger(__name__)


class EventsClient:
    """Sends events to Intercom.

    Alone it is an async context manager, which sends what was enqueued before it ends::

        async with EventsClient(access_token=…) as events:
            await events.track("placed-order", user_id="user-12345")

    Within an app, whoever owns the lifespan starts `run` in a task group, calls `flush` when the app shuts down, and
    then cancels `run`. All methods belong to the event loop that runs the client: a thread goes through
    ``anyio.from_thread``.

    Args:
        access_token: the token of your app at Intercom.
        region: where the workspace is: ``us``, ``eu`` or ``au``.
        base_url: an address to use instead of the region's, for tests and proxies.
        http_client: an ``httpx.AsyncClient``, ``httpx2.AsyncClient`` or anything alike; it is not closed here.
        api_version: the version of Intercom's API to ask for.
        concurrency: requests under way at once; our own pool has at most 20 connections.
        timeout: seconds for one try.
        deadline: seconds for all tries of one call together.
        drain_timeout: seconds to wait for enqueued events when the context manager ends.
        rate_share: the part of Intercom's rate window that this process may use, above 0 and up to 1.
        strict_names: whether a name that is no verb in the past tense with a noun is refused, instead of a warning.
        outbox: keeps the events that are enqueued; by default in memory.
        buffer: how many enqueued events may wait for the outbox.
        on_failure: called with each enqueued event that Intercom refuses for good.

    Raises:
        ConfigurationError: an argument that cannot work.
    """

    handler_argument: ClassVar[str] = "events"
    """A webhook's handler may ask for the client by annotation."""

    def __init__(
        self,
        *,
        access_token: str,
        region: Region = "us",
        base_url: str | None = None,
        http_client: HttpClient | None = None,
        api_version: str = "2.16",
        concurrency: int = MAX_CONNECTIONS,
        timeout: float = 10.0,
        deadline: float = 30.0,
        drain_timeout: float = 20.0,
        rate_share: float = 1.0,
        strict_names: bool = False,
        outbox: Outbox | None = None,
        buffer: int = 10_000,
        on_failure: Callable[[Outcome], None] | None = None,
    ) -> None:
        self._settings = Settings(
            headers=request_headers(access_token, api_version),
            access_token=access_token,
            base_address=base_address(region, base_url),
            http_client=http_client,
            concurrency=concurrency,
            timeout=timeout,
            deadline=deadline,
            drain_timeout=drain_timeout,
            rate_share=rate_share,
            outbox=outbox if outbox is not None else MemoryOutbox(),
            buffer=buffer,
            on_failure=on_failure,
        )
        self._check_name = NameCheck(strict=strict_names)
        self._running: Running | None = None

    def __repr__(self) -> str:
        return f"EventsClient({self._settings.base_address!r})"

    async def __aenter__(self) -> Self:
        self._own_tasks = await anyio.create_task_group().__aenter__()
        try:
            await self._own_tasks.start(self.run)
        except BaseException:
            await self._own_tasks.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # Not after a KeyboardInterrupt or a cancellation: those want to be gone.
            if error is None or isinstance(error, Exception):
                await self.flush(self._settings.drain_timeout)
        finally:
            self._own_tasks.cancel_scope.cancel()
            # Told of no error, or the group would wrap the caller's in a group of its own.
            await self._own_tasks.__aexit__(None, None, None)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run the client until the task is cancelled: ``await task_group.start(client.run)``.

        Nothing that goes wrong with events is raised here. When it is cancelled, what was enqueued is put into the
        outbox, and what is under way is given back to it.

        Args:
            task_status: told when events can be sent.

        Raises:
            ConfigurationError: the client runs already, or its outbox cannot be opened.
        """
        if self._running is not None:
            raise ConfigurationError("The EventsClient runs already; use one for each event loop.")
        try:
            async with running(self._settings) as self._running:
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self._running = None

    async def flush(self, timeout: float | None = None) -> int:
        """Wait until the outbox has nothing that can be sent now.

        Events that other processes have put into the same outbox are sent, too. With a token that is refused there is
        nothing to wait for.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Returns:
            How many events are left. They are kept: an `SQLiteOutbox` has them for the next start, a `MemoryOutbox` as
            long as the process lives.
        """
        left = await self._started().background.flush(timeout)
        if left:
            logger.warning("%d enqueued events have not been sent; they are kept in the outbox", left)
        return left

    async def track(
        self,
        name: str,
        *,
        user_id: str | None = None,
        id: str | None = None,
        email: str | None = None,
        created_at: int | datetime | None = None,
        metadata: Mapping[str, MetadataValue] | None = None,
    ) -> None:
        """Send one event, and wait until Intercom has taken it.

        Args:
            name: a verb in the past tense and a noun, such as ``placed-order``.
            user_id: the contact's external id.
            id: Intercom's id of the contact.
            email: the contact's email address. Exactly one of the three is given.
            created_at: when it happened, as Unix seconds or an aware ``datetime``; by default now.
            metadata: at most 10 keys with flat values.

        Raises:
            InvalidEvent: the event was not sent; names the field.
            EventApiError: Intercom refused it, or could not be reached before the deadline.
        """
        event = Event(name, user_id=user_id, id=id, email=email, metadata=metadata)
        if created_at is not None:
            event = replace(event, created_at=created_at)
        sender = self._started().sender
        await sender.request("POST", "/events", self._encode(event), deadline=self._settings.deadline)

    async def track_many(
        self,
        events: Events,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        on_collision: OnCollision = "warn",
        deadline: float | None = None,
    ) -> TrackResult:
        """Send any number of events. One that fails does not stop the others.

        Args:
            events: an iterable or async iterable; it is read as fast as events can be sent.
            on_progress: called after each event.
            on_collision: what to do with two events of one name, contact and second, which Intercom would take for one:
                ``warn``, or ``shift`` the later one by a second.
            deadline: seconds for all tries of one event; None for as long as it takes.

        Returns:
            How many Intercom has taken, and those that did not reach it.

        Raises:
            Unauthorized: the token was refused; sending stopped at once.
        """
        tally = Tally(on_progress)
        await self._bulk(on_collision, deadline).send_all(events, tally.add)
        return tally.result()

    def stream(
        self, events: Events, *, on_collision: OnCollision = "warn", deadline: float | None = None
    ) -> OutcomeStream:
        """Send any number of events, and hand out what became of each, as they finish.

        Args:
            events: an iterable or async iterable; it is read as fast as events can be sent and outcomes are read.
            on_collision: as for `track_many`.
            deadline: seconds for all tries of one event; None for as long as it takes.

        Returns:
            An async iterator, which raises `Unauthorized` when the token is refused.
        """
        run = self._bulk(on_collision, deadline)
        send, receive = anyio.create_memory_object_stream[Outcome](self._settings.concurrency)
        ending = StreamEnding()
        self._started().tasks.start_soon(run_stream, run, events, send, ending)
        return OutcomeStream(receive, send, ending)

    def enqueue(self, event: Event) -> Enqueued:
        """Have an event sent in the background. Does not wait.

        The event is in the outbox a moment after this returns, together with others that were enqueued meanwhile. Await
        what is returned to be sure: ``await events.enqueue(event)`` returns when the outbox has it, and from then on an
        event in an `SQLiteOutbox` survives the process being killed. Call this in the event loop's thread; another
        thread uses ``anyio.from_thread.run_sync(events.enqueue, event)``.

        Args:
            event: the event.

        Returns:
            Something to await, or to drop.

        Raises:
            InvalidEvent: the event was not taken; names the field.
            OutboxFull: too many events wait for the outbox.
            EventError: the client is being closed.
        """
        return self._started().background.enqueue(self._encode(event))

    def statistics(self) -> EventsStatistics:
        """Tell what became of the events that were enqueued since the start."""
        return self._started().background.statistics()

    def list(
        self,
        *,
        user_id: str | None = None,
        id: str | None = None,
        email: str | None = None,
        per_page: int = 50,
    ) -> EventListing:
        """Read a contact's events of the last 90 days, latest first.

        Args:
            user_id: the contact's external id.
            id: Intercom's id of the contact.
            email: the contact's email address. Exactly one of the three is given.
            per_page: events to read with one request.

        Returns:
            ``async for event in …`` reads page by page, ``await …`` gives a list of all. Both raise `EventApiError`.

        Raises:
            InvalidEvent: not exactly one contact key was given.
        """
        path = query_path(user_id, id, email, per_page=per_page)
        return EventListing(self._started().sender, path, deadline=self._settings.deadline)

    async def summaries(
        self,
        *,
        user_id: str | None = None,
        id: str | None = None,
        email: str | None = None,
    ) -> tuple[EventSummary, ...]:
        """Read how often a contact did what, and when first and last.

        Args:
            user_id: the contact's external id.
            id: Intercom's id of the contact.
            email: the contact's email address. Exactly one of the three is given.

        Returns:
            A summary for each name.

        Raises:
            InvalidEvent: not exactly one contact key was given.
            EventApiError: Intercom refused it, or could not be reached before the deadline.
        """
        path = query_path(user_id, id, email, summary="true")
        return await read_summaries(self._started().sender, path, deadline=self._settings.deadline)

    async def record_summary(
        self, name: str, *, user_id: str, count: int, first: int | datetime, last: int | datetime
    ) -> None:
        """Tell Intercom how often a contact did something, instead of sending each event.

        Whether Intercom adds a repeated summary to the first is not known, so this is not tried again when the answer
        was lost.

        Args:
            name: the event's name.
            user_id: the contact's external id.
            count: how often, 1 or more.
            first: when it happened first, as Unix seconds or an aware ``datetime``.
            last: when it happened last.

        Raises:
            InvalidEvent: names the field.
            EventApiError: Intercom refused it, or could not be reached.
        """
        if count < 1:
            raise InvalidEvent("count", "takes a whole number, 1 or more")
        self._check_name(check_text("name", name))
        body = encode_summary(
            check_text("user_id", user_id), name, count, unix_seconds("first", first), unix_seconds("last", last)
        )
        sender = self._started().sender
        await sender.request("POST", "/events/summaries", body, deadline=self._settings.deadline, repeatable=False)

    def _started(self) -> Running:
        if self._running is None:
            raise ConfigurationError(
                "The EventsClient is not running: use `async with EventsClient(…) as events`, "
                "or have the app's lifespan run (a mounted app needs its lifespan passed on)."
            )
        return self._running

    def _bulk(self, on_collision: OnCollision, deadline: float | None) -> BulkRun:
        return BulkRun(
            self._started().sender,
            self._encode,
            concurrency=self._settings.concurrency,
            deadline=deadline,
            on_collision=on_collision,
        )

    def _encode(self, event: Event) -> bytes:
        body = encode_event(event)
        self._check_name(event.name)
        return body
