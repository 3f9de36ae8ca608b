"""What the tests of handling share: a clock to turn, and a processor over an inbox in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from starlette_intercom import (
    DeadLetter,
    HandlerRegistry,
    Inbox,
    MemoryInbox,
    Notification,
    Processor,
    Stats,
    TaskGroupRunner,
    VerifiedBody,
    VerifiedNotification,
)
from starlette_intercom.notification import dedupe_key_of
from starlette_intercom.testing import sample

TOPIC = "conversation.user.created"
LEASE = 30.0


def notification(topic: str = TOPIC, **overrides: object) -> VerifiedNotification:
    """Return a notification as the webhook sub-application hands it to an inbox."""
    return VerifiedNotification(VerifiedBody(msgspec.json.encode(sample(topic, **overrides)), "1"))


class Clock:
    """Unix time that stands still until it is turned."""

    def __init__(self, now: float = 1_760_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Services:
    """What handlers may ask for beside their delivery."""

    handler_argument = "intercom"

    def __init__(self, events: object = None) -> None:
        self.events = events


def no_wait() -> float:
    """The chance that makes every jittered wait zero."""
    return 0.0


class Stage:
    """A processor over an inbox in memory, worked by hand: no runner, no waiting."""

    def __init__(self, *, inbox: Inbox | None = None, chance: Callable[[], float] = no_wait) -> None:
        self.clock = Clock()
        self.inbox = MemoryInbox(clock=self.clock) if inbox is None else inbox
        self.handlers = HandlerRegistry()
        self.services = Services()
        self.chance = chance
        self.restart()

    def restart(self) -> None:
        """Begin anew, as another process would: nothing is left but the inbox."""
        self.processor = Processor(
            self.inbox, self.handlers, self.services, lease=LEASE, clock=self.clock, chance=self.chance
        )

    async def deliver(self, topic: str = TOPIC, *, group: str | None = None, **overrides: object) -> str:
        """Accept a notification; return its delivery's id."""
        came = notification(topic, **overrides)
        assert await self.inbox.accept(came, key=dedupe_key_of(came), group=group)
        return dedupe_key_of(came)

    async def work(self) -> int:
        """Process what is ready now, once each; return how many deliveries that were."""
        runs = await self.processor.claim(1000)
        for run in runs:
            await self.processor.process(run)
        return len(runs)

    async def work_off(self, rounds: int = 300) -> None:
        """Process until nothing is left to do, turning the clock to what comes next."""
        for _ in range(rounds):
            await self.work()
            stats = await self.inbox.stats()
            if not stats.waiting + stats.scheduled + stats.running:
                return
            self.clock.now += 7200
        raise AssertionError(f"still not finished: {stats}")

    async def dead(self) -> DeadLetter:
        """Return the one dead letter that there is."""
        (letter,) = await self.inbox.list_dead()
        return letter

    async def finished(self, count: int) -> Stats:
        """Wait until so many deliveries are completed or dead."""
        for _ in range(10_000):
            stats = await self.inbox.stats()
            if stats.done + stats.dead >= count:
                return stats
            await anyio.sleep(0.001)
        raise AssertionError(f"still not finished: {stats}")


class Group:
    """Handlers that note their runs and fail as often as they are told to."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ran: list[str] = []

    def add(self, name: str, *errors: BaseException, **options: Any) -> None:
        pending = list(errors)

        async def handler(notification: Notification) -> None:
            self.ran.append(name)
            if pending:
                raise pending.pop(0)

        self.stage.handlers.on(TOPIC, handler=handler, name=name, **options)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(10_000):
        if condition():
            return
        await anyio.sleep(0.001)
    raise AssertionError("it has not come about")


@asynccontextmanager
async def running(stage: Stage, runner: TaskGroupRunner, *, drain: float = 10) -> AsyncIterator[None]:
    """Have a runner work, and drain it afterwards."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            await runner.start(stage.processor, group)
            yield
            await runner.drain(drain)
            assert not runner.alive
