"""An app that takes notifications round by round, so that it is known what waits at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from statistics import median

from starlette_intercom import Intercom, Notification
from starlette_intercom.inbox.contract import Claim, Inbox
from tests.costs.counting import requests
from tests.factories import SECRET, TOPIC


@contextmanager
def _nothing_held() -> Iterator[None]:
    yield


class App:
    """One handler, whose runs all wait for each other; on asyncio.

    Args:
        inbox: where deliveries are written down.
        held: holds back what the inbox writes until everything that is to share it waits.
    """

    def __init__(self, inbox: Inbox, *, held: Callable[[], AbstractContextManager[None]] = _nothing_held) -> None:
        self.intercom = Intercom(SECRET, inbox=inbox)
        self.intercom.on(TOPIC)(self._handle)
        self._held = held
        self._made = 0
        self._expected = self._running = self._completed = 0
        complete = inbox.complete

        async def completed(claim: Claim) -> None:
            await complete(claim)
            self._completed += 1
            if self._completed == self._expected:
                self._all_completed.set()

        inbox.complete = completed  # type: ignore[method-assign] # what comes after it can be waited for

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """Run it inside."""
        async with self.intercom.lifespan(None):
            yield

    async def cost(self, count: int, counter: Callable[[], int], *, rounds: int) -> float:
        """Return what one notification costs: the median of some rounds, which no timer in one of them can move.

        Args:
            count: notifications that arrive at the same time, and whose handlers end at the same time.
            counter: tells how much was spent so far.
            rounds: that count; two more come before, in which things are done once.
        """
        spent: list[int] = []
        for _ in range(rounds + 2):
            before = counter()
            await self._round(count)
            spent.append(counter() - before)
        return median(spent[2:]) / count

    async def _round(self, count: int) -> None:
        self._expected, self._running, self._completed = count, 0, 0
        self._all_running, self._may_end, self._all_completed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        made = requests(count, first=self._made)
        self._made += count
        with self._held():
            answers = [asyncio.create_task(request.make(self.intercom.webhooks)) for request in made]
            await _everybody_had_a_turn()
        await asyncio.gather(*answers)
        assert {request.status for request in made} == {200}
        await self._all_running.wait()
        with self._held():
            self._may_end.set()
            await _everybody_had_a_turn()
        await self._all_completed.wait()

    async def _handle(self, notification: Notification) -> None:
        self._running += 1
        if self._running == self._expected:
            self._all_running.set()
        await self._may_end.wait()


async def _everybody_had_a_turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)
