"""A runner for a task engine that exists: the workers of taskiq run the handlers.

The inbox stays the record. The engine carries nothing but ids of deliveries; what it loses is named to it again, and
what it delivers twice finds nothing to claim the second time. Its task never fails: retries and dead letters are the
inbox's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup
from taskiq import AsyncBroker, TaskiqEvents, TaskiqState

from .. import messages
from ..errors import ConfigurationError, InboxError
from ..lifespan import Lifespan
from ..messages import logger
from .processor import Processor
from .runner import Runner

TASK_NAME: Final = "starlette_intercom:process"
AGAIN_AFTER: Final = 60.0
"""Seconds after which a delivery that was given to the engine and does not run yet is given to it again."""

_TOGETHER: Final = 100  # ids that are taken from the inbox at a time
_POLL: Final = 0.5  # seconds after which an inbox is asked again without having said that there is something
_PAUSE: Final = 0.02  # seconds between two questions to the inbox, in which more may come together
_PATIENCE: Final = 5.0  # seconds in which the engine must take ids, or it counts as away
_UNTIL_HANDLED: Final = ("workqueue", "interest")  # JetStream's policies that take a message out once it was handled
_LONGEST_PAUSE: Final = 1.0  # seconds between two tries to reach a broker or an inbox that is away


class TaskiqRunner(Runner):
    """Has deliveries processed by the workers of taskiq, on any of its brokers; on asyncio, as taskiq is.

    ::

        broker = RedisStreamBroker(url, queue_name="intercom", maxlen=100_000, unacknowledged_lock_timeout=60)
        intercom = Intercom(client_secret="…", inbox="redis://…", runner=TaskiqRunner(broker))

    Web processes hand out ids: ``uvicorn module:app``. Workers process them: ``taskiq worker module:broker``; they
    start and stop ``intercom`` by themselves, and hand out ids too, so that nothing waits for a web process.

    On Python 3.11 workers may not end on SIGTERM: a ``RedisStreamBroker`` then needs ``socket_timeout=None``, too.

    Args:
        broker: it is started and shut down together with the app. Give Intercom a queue of its own.
        again_after: seconds after which a delivery that was given to the engine and does not run yet is given to it
            again, since the engine may have lost it. More than it usually waits there.

    Raises:
        ConfigurationError: the number is out of its range, or the broker would stop after a crash of a worker, or grow
            without bound.
    """

    def __init__(self, broker: AsyncBroker, *, again_after: float = AGAIN_AFTER) -> None:
        if not 1 <= again_after < float("inf"):
            raise ConfigurationError("again_after is in seconds and must be at least 1.")
        _check(broker)
        self.broker = broker
        self._again_after = again_after
        self._lifespan: Lifespan | None = None
        self._worker: _Worker | None = None
        self._work: _Work | None = None

        async def process(id: str) -> None:
            await self._process(id)

        self._task = broker.register_task(process, task_name=TASK_NAME)
        broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, self._worker_started)
        broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, self._worker_stops)

    def bind(self, lifespan: Lifespan) -> None:
        """Remember what to start in the engine's workers."""
        self._lifespan = lifespan

    async def start(self, processor: Processor, task_group: TaskGroup) -> None:
        """Begin to hand out ids, and be ready to process them."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError("TaskiqRunner runs on asyncio only: let the server run asyncio.") from None
        self._work = _Work(self.broker, self._give, processor, again_after=self._again_after)
        task_group.start_soon(self._work.run, name="intercom-taskiq")

    async def drain(self, timeout: float) -> None:
        """Hand out nothing more, and let what runs in this process finish; what others run goes on there."""
        work, self._work = self._work, None
        if work is not None:
            await work.drain(timeout)

    @property
    def alive(self) -> bool:
        """It hands out ids."""
        return self._work is not None and not self._work.ended.is_set()

    async def _give(self, id: str) -> None:
        """Give the engine an id to carry."""
        await self._task.kiq(id)

    async def _process(self, id: str) -> None:
        """Process a delivery, in a worker of the engine; nothing where it runs already, or is done."""
        if self._work is not None:
            await self._work.process(id)

    async def _worker_started(self, _state: TaskiqState) -> None:
        if self._work is not None:  # the broker has its workers in this process
            return
        if self._lifespan is None:
            raise ConfigurationError("This TaskiqRunner belongs to no Intercom: make one with Intercom(…, runner=…).")
        self._worker = _Worker(self._lifespan)
        await self._worker.start()

    async def _worker_stops(self, _state: TaskiqState) -> None:
        if self._worker is not None:
            await self._worker.stop()
            self._worker = None


class _Work:
    """One start: hands out ids, processes those that the engine brings to this process, and keeps their leases.

    Args:
        broker: of the engine.
        give: gives the engine an id to carry.
        processor: of this start.
        again_after: see :class:`TaskiqRunner`.
    """

    def __init__(
        self,
        broker: AsyncBroker,
        give: Callable[[str], Awaitable[None]],
        processor: Processor,
        *,
        again_after: float,
    ) -> None:
        self._broker = broker
        self._give = give
        self._processor = processor
        self._again_after = again_after
        self._names: list[str] = []  # taken from the inbox, and not given to the engine yet
        self._connected = self._in_worker = broker.is_worker_process  # there the engine starts and stops the broker
        self._reachable = True
        self._tasks: set[anyio.CancelScope] = set()
        self._draining = False
        self._handing_out = anyio.CancelScope()
        self._idle = anyio.Event()
        self.ended = anyio.Event()

    async def run(self) -> None:
        """Work until drained."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._processor.keep_leases)
                with self._handing_out:
                    await self._hand_out()
                await self._idle.wait()
                group.cancel_scope.cancel()
        finally:
            if not self._in_worker:
                with anyio.move_on_after(_LONGEST_PAUSE, shield=True):
                    await self._disconnect()
            self.ended.set()

    async def drain(self, timeout: float) -> None:
        """See :meth:`TaskiqRunner.drain`."""
        self._draining = True
        self._handing_out.cancel()
        if not self._tasks:
            self._idle.set()
        with anyio.move_on_after(timeout):
            await self._idle.wait()
        for task in self._tasks:
            task.cancel()
        await self.ended.wait()

    async def process(self, id: str) -> None:
        """Process a delivery, unless it runs already or is done."""
        with anyio.CancelScope() as task:
            self._tasks.add(task)
            try:
                for run in await self._processor.claim(1, ids=[id]):
                    await self._processor.process(run)
            finally:
                self._tasks.remove(task)
                if self._draining and not self._tasks:
                    self._idle.set()

    async def _hand_out(self) -> None:
        pause = _PAUSE
        while True:
            try:
                # Not interrupted when the app stops: what was taken from the inbox is given to the engine.
                with anyio.fail_after(_PATIENCE, shield=True):
                    full = await self._dispatch()
            except Exception as error:  # whatever a broker does, the deliveries are safe in the inbox
                if self._reachable:
                    away = messages.inbox_unreachable if isinstance(error, InboxError) else messages.broker_unreachable
                    logger.error(away(error))
                self._reachable = False
                pause = min(2 * pause, _LONGEST_PAUSE)
                await anyio.sleep(pause)
                continue
            if not self._reachable:
                logger.warning(messages.dispatching_again())
            self._reachable, pause = True, _PAUSE
            if not full:
                await anyio.sleep(_PAUSE)
                await self._processor.inbox.wait(_POLL)

    async def _dispatch(self) -> bool:
        """Name deliveries and give their ids to the engine; return whether there may be more."""
        if not self._connected:
            await self._broker.startup()
            self._connected = True
        if not self._names:
            self._names.extend(await self._processor.inbox.dispatch(_TOGETHER, again_after=self._again_after))
        full = len(self._names) == _TOGETHER
        given = await asyncio.gather(*map(self._give, self._names), return_exceptions=True)
        self._names = [name for name, error in zip(self._names, given, strict=True) if error is not None]
        for error in given:
            if error is not None:
                raise error
        return full

    async def _disconnect(self) -> None:
        try:
            await self._broker.shutdown()
        except Exception as error:  # it may be away, and there is nothing more to do with it
            logger.warning(messages.broker_unreachable(error))


class _Worker:
    """Intercom in a worker of the engine: a task that enters its lifespan, and leaves it when it is told to."""

    def __init__(self, lifespan: Lifespan) -> None:
        self._lifespan = lifespan
        self._stopping = asyncio.Event()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._live(), name="intercom")
        await self._started

    async def stop(self) -> None:
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _live(self) -> None:
        try:
            async with self._lifespan(None):
                self._started.set_result(None)
                await self._stopping.wait()
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)


def _check(broker: AsyncBroker) -> None:
    """Refuse what is known to go wrong with streams, by the names of the options of taskiq-redis and taskiq-nats."""
    if getattr(broker, "unacknowledged_lock_timeout", 0) is None:
        raise ConfigurationError(
            "A worker that is killed while it looks for lost messages would stop all workers of this broker for good: "
            "make it with unacknowledged_lock_timeout=60 (seconds)."
        )
    if getattr(broker, "maxlen", 0) is None:
        raise ConfigurationError(
            "The stream of this broker would grow without bound, since messages stay in it after they were handled: "
            "make it with maxlen=100_000. What is cut off is handed out again."
        )
    stream = getattr(broker, "stream_config", None)  # of JetStream, whose default is to keep every message for ever
    if stream is not None and stream.retention not in _UNTIL_HANDLED:
        limits = (stream.max_msgs, stream.max_bytes, stream.max_age)
        if not any(limit is not None and limit > 0 for limit in limits):
            raise ConfigurationError(
                "The stream of this broker would grow without bound, since messages stay in it after they were "
                "handled: make it with stream_config=StreamConfig(max_msgs=100_000). What is cut off is handed out "
                "again. A stream that exists already stays as it is: change it with 'nats stream edit', too."
            )
