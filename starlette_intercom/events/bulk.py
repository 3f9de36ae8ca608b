"""Many events at once: any number of them, in bounded memory, as fast as the rate window allows."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ..errors import EventError, Unauthorized
from .collisions import Collisions, OnCollision
from .event import Event
from .outcomes import Outcome, Progress, TrackResult
from .sending import Sender

KEPT_FAILURES = 10_000

# Events after which a worker lets others run.
_TURN = 16

Events = Iterable[Event] | AsyncIterable[Event]


class BulkRun:
    """Sends the events of one iterable with a fixed set of workers.

    Args:
        sender: what sends.
        encode: validates an event and writes its body.
        concurrency: how many workers.
        deadline: seconds for each event, or None for as long as it takes.
        on_collision: what to do with events that Intercom would take for one.
    """

    def __init__(
        self,
        sender: Sender,
        encode: Callable[[Event], bytes],
        *,
        concurrency: int,
        deadline: float | None,
        on_collision: OnCollision,
    ) -> None:
        self._sender = sender
        self._encode = encode
        self._concurrency = concurrency
        self._deadline = deadline
        self._collisions = Collisions(on_collision)
        self._stopped_by: Exception | None = None
        self._source_failed: Exception | None = None

    async def send_all(self, events: Events, report: Callable[[Outcome], Awaitable[None]]) -> None:
        """Send all events.

        Args:
            events: where they come from; an async iterable is read in the task of the caller.
            report: called with every outcome, as they finish.

        Raises:
            Unauthorized: the token was refused; the rest was not sent.
            Exception: whatever ``events`` or ``report`` raised.
        """
        if isinstance(events, AsyncIterable):
            # Read in one task, as its scopes and context may depend on that.
            send, receive = anyio.create_memory_object_stream[Event](self._concurrency)
            with receive:
                async with anyio.create_task_group() as workers:
                    for _ in range(self._concurrency):
                        workers.start_soon(self._work_from_stream, receive, report, workers.cancel_scope)
                    await self._feed(events, send)
        else:
            iterator = iter(events)
            async with anyio.create_task_group() as workers:
                for _ in range(self._concurrency):
                    workers.start_soon(self._work, iterator, report, workers.cancel_scope)
        if self._stopped_by is not None:
            raise self._stopped_by
        if self._source_failed is not None:
            raise self._source_failed

    async def _feed(self, events: AsyncIterable[Event], send: MemoryObjectSendStream[Event]) -> None:
        with send:
            try:
                async for event in events:
                    await send.send(event)
            except Exception as error:
                # What was read so far is still sent; and the error leaves as it is, not in a group.
                self._source_failed = error
            finally:
                if isinstance(events, AsyncGenerator):
                    # Where it was left halfway, nobody else would.
                    with anyio.CancelScope(shield=True):
                        await events.aclose()

    async def _work_from_stream(
        self,
        events: MemoryObjectReceiveStream[Event],
        report: Callable[[Outcome], Awaitable[None]],
        scope: anyio.CancelScope,
    ) -> None:
        async for event in events:
            await self._handle(event, report, scope)

    async def _work(
        self,
        events: Iterator[Event],
        report: Callable[[Outcome], Awaitable[None]],
        scope: anyio.CancelScope,
    ) -> None:
        """Take the next event when the last is through. Without a task that hands them out, which costs time."""
        for number in itertools.count(1):
            try:
                event = next(events)
            except StopIteration:
                return
            except Exception as error:
                self._source_failed = error
                return
            await self._handle(event, report, scope)
            if number % _TURN == 0:
                # Neither events that are refused unsent nor an in-process transport need ever wait by themselves.
                await anyio.lowlevel.checkpoint()

    async def _handle(
        self, event: Event, report: Callable[[Outcome], Awaitable[None]], scope: anyio.CancelScope
    ) -> None:
        outcome = await self._send(event)
        try:
            if isinstance(outcome.error, Unauthorized):
                raise outcome.error
            await report(outcome)
        except Exception as error:
            self._stopped_by = error
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    async def _send(self, event: Event) -> Outcome:
        try:
            body = self._encode(event)
            resolved = self._collisions.resolve(event)
            if resolved is not event:
                event, body = resolved, self._encode(resolved)
            await self._sender.send_event(body, deadline=self._deadline)
        except EventError as error:
            # The frames of the traceback would keep everything alive that the error has passed.
            return Outcome(event, error.with_traceback(None))
        return Outcome(event)


class OutcomeStream:
    """The outcomes of a run, as they finish: an async iterator.

    The run goes on in a task of the client. It stops when the iterator is closed or dropped, so leaving the loop early
    is fine; events that are under way at that moment may or may not reach Intercom.
    """

    def __init__(
        self,
        outcomes: MemoryObjectReceiveStream[Outcome],
        source: MemoryObjectSendStream[Outcome],
        ending: StreamEnding,
    ) -> None:
        self._outcomes = outcomes
        self._source = source
        self._ending = ending

    def __aiter__(self) -> OutcomeStream:
        return self

    async def __anext__(self) -> Outcome:
        try:
            return await self._outcomes.receive()
        except anyio.EndOfStream:
            self._close()  # not left to __del__: in a cycle with the error, the streams inside might go first
            if self._ending.error is not None:
                raise self._ending.error from None
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Stop the run."""
        self._close()

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        self._outcomes.close()
        # The task that would close it may never have begun.
        self._source.close()


class StreamEnding:
    """How the run behind a stream ended; apart from the stream, so that the run does not keep the stream alive."""

    def __init__(self) -> None:
        self.error: Exception | None = None


async def run_stream(
    run: BulkRun, events: Events, outcomes: MemoryObjectSendStream[Outcome], ending: StreamEnding
) -> None:
    """Send all events and hand out their outcomes.

    Args:
        run: what sends.
        events: where they come from.
        outcomes: where the outcomes go; sending stops when nobody reads them any more.
        ending: told what ended the run early.
    """
    ending.error = EventError("The events client was closed before all events were sent")
    with outcomes:
        try:
            await run.send_all(events, outcomes.send)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        except Exception as error:
            ending.error = error
        else:
            ending.error = None


class Tally:
    """Counts outcomes for `TrackResult`.

    Args:
        on_progress: called after each event.
    """

    def __init__(self, on_progress: Callable[[Progress], None] | None) -> None:
        self._on_progress = on_progress
        self._succeeded = 0
        self._failed_count = 0
        self._failed: list[Outcome] = []

    async def add(self, outcome: Outcome) -> None:
        """Take in one outcome."""
        if outcome.ok:
            self._succeeded += 1
        else:
            self._failed_count += 1
            if len(self._failed) < KEPT_FAILURES:
                self._failed.append(outcome)
        if self._on_progress is not None:
            self._on_progress(Progress(self._succeeded, self._failed_count))

    def result(self) -> TrackResult:
        """Make the result of what was counted."""
        return TrackResult(self._succeeded, tuple(self._failed), self._failed_count)
