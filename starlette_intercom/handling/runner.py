"""Runners: where deliveries are processed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Final

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from .. import messages
from ..errors import ConfigurationError
from ..lifespan import Lifespan
from ..messages import logger
from ..time_limit import time_limit
from .processor import Processor
from .run import Run

CONCURRENCY: Final = 200
"""How many deliveries one process runs at the same time, unless told otherwise."""

_POLL: Final = 0.5  # seconds after which an inbox is asked again without having said that there is something
_FAIR: Final = 16  # deliveries that one worker runs before it lets everything else on the event loop have a turn


class Runner(ABC):
    """Takes deliveries from the inbox and has them processed, here or elsewhere.

    A runner calls ``processor.claim`` for runs, and ``processor.process`` or ``processor.release`` for each of them.
    """

    def bind(self, lifespan: Lifespan) -> None:  # noqa: B027 -- most runners have no use for it
        """Hear what starts and stops the ``Intercom`` that this runner was given to.

        Args:
            lifespan: to be entered in other processes, where the runner has deliveries processed.
        """

    @abstractmethod
    async def start(self, processor: Processor, task_group: TaskGroup) -> None:
        """Begin.

        Args:
            processor: of this start.
            task_group: lives as long as the app; a task in it must not raise.
        """

    @abstractmethod
    async def drain(self, timeout: float) -> None:
        """Take nothing more, let what runs finish within ``timeout`` seconds, release the rest, and end all tasks."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """It is working; for health checks."""


class TaskGroupRunner(Runner):
    """Runs deliveries in a fixed set of tasks of this process.

    Args:
        concurrency: how many deliveries run at the same time, at least 1.
        task_group: start the tasks in this group of yours instead of Intercom's own.

    Raises:
        ConfigurationError: the concurrency is out of its range.
    """

    def __init__(self, concurrency: int = CONCURRENCY, *, task_group: TaskGroup | None = None) -> None:
        if concurrency < 1:
            raise ConfigurationError("concurrency must be at least 1.")
        self.concurrency = concurrency
        self._task_group = task_group
        self._workers: _Workers | None = None

    async def start(self, processor: Processor, task_group: TaskGroup) -> None:
        """Begin."""
        self._workers = _Workers(processor, self.concurrency)
        (self._task_group or task_group).start_soon(self._workers.run, name="intercom-workers")

    async def drain(self, timeout: float) -> None:
        """Take nothing more, let what runs finish, release the rest."""
        workers, self._workers = self._workers, None
        if workers is not None:
            await workers.drain(timeout)

    @property
    def alive(self) -> bool:
        """It is working."""
        return self._workers is not None and not self._workers.ended.is_set()


class _Workers:
    """The tasks of one start.

    A worker that needs work takes it from the runs claimed in advance. One of those that are free claims, for itself
    and the others: where its last claim left nothing, it waits for what comes next and leaves what is ready to the
    others, which are parked until then. So an idle process has one task waiting for the inbox, and in a busy one
    workers go from delivery to delivery without switching tasks.
    """

    def __init__(self, processor: Processor, concurrency: int) -> None:
        self._processor = processor
        self._concurrency = concurrency
        self._scope = anyio.CancelScope()  # an inner one: cancelling the group around it would end the app's lifespan
        self._ready: deque[Run] = deque()
        self._parked: deque[anyio.Event] = deque()
        self._event = type(anyio.Event())  # of this event loop: Event() looks for it each time
        self._waking = False  # a worker was woken and has not had its turn yet
        self._claiming = False
        self._caught_up = False  # the last claim has left nothing
        self._waiting = time_limit(None)
        self._busy = 0
        self._finished = 0
        self._ahead = 0  # how many were finished while the last claim was under way
        self._draining = False
        self.ended = anyio.Event()

    async def run(self) -> None:
        """Run all workers until they are drained."""
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    heart = anyio.CancelScope()
                    group.start_soon(self._beat, heart)
                    async with anyio.create_task_group() as workers:
                        for _ in range(self._concurrency):
                            workers.start_soon(self._work)
                    heart.cancel()
        finally:
            async with anyio.create_task_group() as group:  # all at once: each may take a while
                for run in self._ready:
                    group.start_soon(self._processor.release, run)
            self._ready.clear()
            self.ended.set()

    async def drain(self, timeout: float) -> None:
        """See :meth:`Runner.drain`."""
        began = anyio.current_time()
        self._draining = True
        self._waiting.cancel()
        while self._parked:
            self._parked.popleft().set()
        with anyio.move_on_after(timeout):
            await self.ended.wait()
        if not self.ended.is_set():
            busy = self._busy
            self._processor.abandon_threads()
            self._scope.cancel()
            with anyio.CancelScope(shield=True):
                await self.ended.wait()
            logger.warning(messages.drained(anyio.current_time() - began, busy))

    async def _beat(self, heart: anyio.CancelScope) -> None:
        with heart:
            await self._processor.keep_leases()

    async def _work(self) -> None:
        run: Run | None = None  # what a used-up scope leaves to be finished
        turns = 0
        while True:
            with anyio.CancelScope() as scope:
                while True:
                    run = run or self._take() or await self._next()
                    if run is None:
                        return
                    over = True
                    self._busy += 1
                    try:
                        over = await self._processor.advance(run, scope)
                    except Exception:  # a defect of ours must not end the worker, nor the app's lifespan
                        logger.exception(messages.worker_survived())
                    finally:
                        self._busy -= 1
                        self._finished += 1
                    if not over or run.lost:  # the scope was cancelled
                        run = None if over else run
                        break
                    run = None
                    turns += 1
                    if turns % _FAIR == 0:
                        await anyio.lowlevel.checkpoint()

    def _take(self) -> Run | None:
        """Return one of the runs claimed in advance, and have another worker take the next, or look for more."""
        if not self._ready or (self._draining and self._processor.inbox.durable):
            return None
        run = self._ready.popleft()
        if not self._waking and (self._ready or not self._claiming):
            self._wake_one()
        return run

    def _wake_one(self) -> None:
        # It wakes the next. Where this one goes on without waiting, a second would find nothing.
        if self._parked and not self._waking:
            self._waking = True
            self._parked.popleft().set()

    async def _next(self) -> Run | None:
        while True:
            limit = min(self._concurrency - self._busy - len(self._ready) + self._ahead, self._concurrency)
            may_claim = limit > 0 and not self._claiming and not self._draining
            if may_claim and self._caught_up and self._ready and self._parked:
                self._wake_one()  # to run what is ready, while this one looks out for what comes next
            else:
                run = self._take()
                if run is not None:
                    return run
            if self._claiming:
                if self._draining:
                    return None
                parked = self._event()
                self._parked.append(parked)
                await parked.wait()
                self._waking = False
            elif not await self._claim(limit):
                return None

    async def _claim(self, limit: int) -> bool:
        """Claim for everybody, as soon as there may be something; return False when there is nothing left to do."""
        self._claiming = True
        try:
            runs: Sequence[Run] = ()
            if self._caught_up and not self._draining:
                with time_limit(None) as self._waiting:
                    runs = await self._processor.wait(_POLL, limit=limit)
            if runs:
                self._ahead = 0
            elif self._draining and self._processor.inbox.durable:
                return False
            else:
                finished = self._finished
                runs = await self._processor.claim(limit)
                self._ahead = self._finished - finished
            self._caught_up = len(runs) < limit
            self._ready.extend(runs)
            return bool(runs) or not self._draining
        finally:
            self._claiming = False
