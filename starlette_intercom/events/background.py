"""Events that are enqueued: into the outbox at once, and from there to Intercom in the background."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc

from ..errors import (
    ContactNotFound,
    EventApiError,
    EventError,
    EventRejected,
    IntercomUnavailable,
    OutboxFull,
    RateLimited,
)
from .outbox import LEASE, MAX_BATCH, Outbox, OutboxEntry
from .outcomes import Outcome
from .sending import Sender
from .validation import decode_event

logger = logging.getLogger(__name__)

# An entry that was taken must be through before its lease is over: it waits for a worker at most so long …
_LONGEST_WAIT = LEASE / 2
# … and is tried for so long. After that it is given back, and taken again in its turn.
_DEADLINE = LEASE / 3
# How often to look for what crashed processes have left behind.
_POLL = 5.0
# After an error that the next event would meet as well: a wrong token, a client of the user's that is closed.
_PAUSE = 60.0
_RETRY_STORING = 1.0
# What there is to do when the process must go: a commit or two.
_LAST_WRITE = 5.0


class _Batch:
    """Events that are put into the outbox together."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.stored = False
        self.settled = anyio.Event()


class Enqueued:
    """What `EventsClient.enqueue` returns. Await it to wait until the outbox has the event."""

    def __init__(self, batch: _Batch) -> None:
        self._batch = batch

    def __await__(self) -> Generator[Any, Any, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        await self._batch.settled.wait()
        if not self._batch.stored:
            raise EventError("The events client was closed, and its outbox did not take the event")


@dataclass(frozen=True, slots=True)
class EventsStatistics:
    """What became of the events that were enqueued since the client was started.

    Attributes:
        enqueued: taken by ``enqueue``.
        unstored: of these, not in the outbox yet: lost if the process were killed now.
        sent: taken by Intercom, among them what earlier processes left behind.
        refused: refused by Intercom for good, and reported.
    """

    enqueued: int
    unstored: int
    sent: int
    refused: int


class Background:
    """Moves events from `enqueue` into the outbox, and from the outbox to Intercom.

    Args:
        sender: what sends.
        outbox: the record of what waits; open.
        concurrency: requests under way at once.
        buffer: how many events may wait for the outbox.
        on_failure: called with each event that Intercom refused.
    """

    def __init__(
        self,
        sender: Sender,
        outbox: Outbox,
        *,
        concurrency: int,
        buffer: int,
        on_failure: Callable[[Outcome], None] | None,
    ) -> None:
        self._sender = sender
        self._outbox = outbox
        self._concurrency = concurrency
        self._buffer = buffer
        self._on_failure = on_failure
        self._feed, self._entries = anyio.create_memory_object_stream[tuple[OutboxEntry, float]]()
        self._batches: deque[_Batch] = deque()
        self._held: set[int] = set()  # taken from the outbox, and neither done nor given back
        self._settled: list[int] = []  # of these, what needs not be sent any more
        self._wake_writer = anyio.Event()
        self._wake_loader = anyio.Event()
        self._drained = anyio.Event()
        self._paused_until = 0.0
        self._closing = False
        self._enqueued = self._unstored = self._sent = self._refused = 0

    def statistics(self) -> EventsStatistics:
        """Tell what became of the events so far."""
        return EventsStatistics(self._enqueued, self._unstored, self._sent, self._refused)

    def enqueue(self, body: bytes) -> Enqueued:
        """Take one event.

        Args:
            body: what `encode_event` made of it.

        Raises:
            OutboxFull: too many events wait for the outbox.
            EventError: the outbox is about to be closed.
        """
        if self._closing:
            raise EventError("The events client is being closed; the event was not taken")
        if self._unstored >= self._buffer:
            raise OutboxFull(f"{self._unstored} events wait for the outbox")
        if not self._batches or len(self._batches[-1].bodies) >= MAX_BATCH:
            self._batches.append(_Batch())
        batch = self._batches[-1]
        batch.bodies.append(body)
        self._unstored += 1
        self._enqueued += 1
        self._wake_writer.set()
        return Enqueued(batch)

    def start(self, task_group: anyio.abc.TaskGroup) -> None:
        """Start the tasks; they run until they are cancelled.

        Args:
            task_group: where they run. They raise nothing into it.
        """
        task_group.start_soon(self._write)
        task_group.start_soon(self._load)
        for _ in range(self._concurrency):
            task_group.start_soon(self._work)

    async def flush(self, timeout: float | None) -> int:
        """Wait until everything in the outbox that may be sent now has been sent.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Returns:
            How many events are left.
        """
        self._drained = drained = anyio.Event()
        self._wake_loader.set()
        with anyio.move_on_after(timeout):
            await drained.wait()
        return self._unstored + await self._outbox.count()

    async def finish(self) -> None:
        """Leave the outbox as the next process should find it. Call it after the tasks have ended."""
        self._closing = True
        self._feed.close()
        self._entries.close()
        with anyio.move_on_after(_LAST_WRITE, shield=True):
            try:
                await self._settle()
                await self._store()
                await self._outbox.release(list(self._held))
            except Exception:
                logger.exception("The events outbox failed at shutdown")
        if self._unstored:
            logger.error("%d enqueued events are lost: the outbox did not take them", self._unstored)
        for batch in self._batches:
            batch.settled.set()

    async def _write(self) -> None:
        """Put what was enqueued into the outbox, and take out what is settled; many at a time share a commit."""
        while True:
            await self._wake_writer.wait()
            self._wake_writer = anyio.Event()
            try:
                # In this order, since what is settled makes room.
                await self._settle()
                await self._store()
            except OutboxFull:
                # What gets settled makes room, here or in another process.
                with anyio.move_on_after(_RETRY_STORING):
                    await self._wake_writer.wait()
                self._wake_writer.set()
            except Exception as error:
                logger.error("The events outbox fails (%s); trying again", type(error).__name__)
                await anyio.sleep(_RETRY_STORING)
                self._wake_writer.set()

    async def _settle(self) -> None:
        ids = self._settled[:]
        if ids:
            await self._outbox.done(ids)
            del self._settled[: len(ids)]
            self._held.difference_update(ids)
            self._wake_loader.set()

    async def _store(self) -> None:
        while self._batches:
            batch = self._batches[0]
            bodies = batch.bodies[:]
            if len(self._batches) == 1:
                # Still open: what comes from now on goes into the next one.
                self._batches.append(_Batch())
            await self._outbox.put(bodies)
            self._batches.popleft()
            self._unstored -= len(bodies)
            batch.stored = True
            batch.settled.set()
            self._wake_loader.set()
            if not self._batches[0].bodies:
                self._batches.popleft()

    async def _load(self) -> None:
        """Take what waits in the outbox and hand it to the workers."""
        while True:
            self._wake_loader = anyio.Event()
            now = anyio.current_time()
            pause = self._paused_until - now
            if pause <= 0:
                entries = await self._take()
                for entry in entries:
                    await self._feed.send((entry, now))
                if entries:
                    continue
            if not self._unstored and not self._held:
                self._drained.set()
            with anyio.move_on_after(pause if 0 < pause < _POLL else _POLL):
                await self._wake_loader.wait()

    async def _take(self) -> list[OutboxEntry]:
        try:
            entries = await self._outbox.take(MAX_BATCH)
        except Exception as error:
            logger.error("The events outbox fails (%s); trying again", type(error).__name__)
            return []
        self._held.update(entry.id for entry in entries)
        return entries

    async def _work(self) -> None:
        async for entry, taken in self._entries:
            now = anyio.current_time()
            if now < self._paused_until or now - taken > _LONGEST_WAIT:
                await self._give_back(entry)
            else:
                await self._send(entry)

    async def _send(self, entry: OutboxEntry) -> None:
        try:
            await self._sender.request("POST", "/events", entry.body, deadline=_DEADLINE)
        except (ContactNotFound, EventRejected) as error:
            self._refused += 1
            self._report(entry, error)
        except (IntercomUnavailable, RateLimited):
            await self._give_back(entry)
            return
        except Exception as error:
            # A wrong token, a client of the user's that is closed: the next event would fare no better. Nothing may
            # get into the task group, which is the app's.
            self._pause(error)
            await self._give_back(entry)
            return
        else:
            self._sent += 1
        self._settled.append(entry.id)
        self._wake_writer.set()

    async def _give_back(self, entry: OutboxEntry) -> None:
        try:
            await self._outbox.release([entry.id])
        except Exception as error:
            # Its lease will end.
            logger.error("The events outbox fails (%s)", type(error).__name__)
        self._held.discard(entry.id)
        self._wake_loader.set()

    def _pause(self, error: Exception) -> None:
        now = anyio.current_time()
        if now >= self._paused_until:
            why = error if isinstance(error, EventError) else type(error).__name__
            logger.error("Enqueued events wait in the outbox: %s. Trying again in %g s", why, _PAUSE)
            self._paused_until = now + _PAUSE

    def _report(self, entry: OutboxEntry, error: EventApiError) -> None:
        logger.warning("An enqueued event was refused for good: %s", error)
        if self._on_failure is not None:
            try:
                self._on_failure(Outcome(decode_event(entry.body), error.with_traceback(None)))
            except Exception:
                logger.exception("on_failure failed")
