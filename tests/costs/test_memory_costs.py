"""What a notification costs in memory, where the library is all that there is: counted, not timed."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from starlette_intercom import Intercom, Notification
from tests.costs.counting import Calls, CountingLoop, Request, check, counting_loop, requests
from tests.factories import SECRET, TOPIC, envelope

pytestmark = pytest.mark.anyio

COUNT = 256
COUNTING = ("asyncio", {"loop_factory": CountingLoop})


class Costs(NamedTuple):
    """Of a number of notifications.

    Attributes:
        answering: calls from the request to its answer.
        handling: calls from there to the completed delivery.
        tasks: that were started.
        callbacks: that were put on the event loop, beside those of a server.
    """

    answering: Calls
    handling: Calls
    tasks: int
    callbacks: int


async def costs(together: int) -> Costs:
    """Count what ``COUNT`` notifications cost that come ``together`` at a time."""
    loop = counting_loop()
    intercom = Intercom(SECRET)
    left = 0
    all_handled = asyncio.Event()

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        nonlocal left
        left -= 1
        if not left:
            all_handled.set()

    answering, handling, tasks, callbacks = Calls(), Calls(), 0, 0
    async with intercom.lifespan(None):
        for start in range(-2 * together, COUNT, together):
            if start == 0:  # before, things were done that are done once
                answering, handling, tasks, callbacks = Calls(), Calls(), loop.tasks.total(), loop.callbacks
            made = requests(together, first=start)
            left = together
            all_handled.clear()
            with answering.counted():
                for request in made:
                    await request.make(intercom.webhooks)
            assert {request.status for request in made} == {200}
            with handling.counted():
                await all_handled.wait()
        return Costs(answering, handling, loop.tasks.total() - tasks, loop.callbacks - callbacks)


@pytest.mark.parametrize("anyio_backend", [COUNTING])
@pytest.mark.parametrize(
    ("together", "answering", "handling"),
    [
        # Those that come together find the workers awake, and are claimed together.
        (1, 26.5, 92),  # 26 and 86.6 on 2026-11-23, Python 3.11
        (32, 25.5, 27),  # 25 and 25.9 on 2026-11-23, Python 3.11
    ],
)
async def test_python_calls_per_notification(together: int, answering: float, handling: float) -> None:
    found = await costs(together)
    check(found.answering.total() / COUNT, answering, "Python calls to answer", details=found.answering.report(COUNT))
    check(found.handling.total() / COUNT, handling, "Python calls to handle", details=found.handling.report(COUNT))


@pytest.mark.parametrize("anyio_backend", [COUNTING])
@pytest.mark.parametrize(
    ("together", "bound"),
    [
        (1, 3.4),  # 3.1 on 2026-11-23: of the worker that claims, of the next, and of this test
        (32, 0.25),  # 0.19 on 2026-11-23
    ],
)
async def test_turns_of_the_event_loop_per_notification(together: int, bound: float) -> None:
    check((await costs(together)).callbacks / COUNT, bound, "turns of tasks on the event loop")


@pytest.mark.parametrize("anyio_backend", [COUNTING])
@pytest.mark.parametrize("together", [1, 32])
async def test_no_task_is_started_for_a_notification(together: int) -> None:
    check((await costs(together)).tasks / COUNT, 0, "task starts", details=f"{counting_loop().tasks}")


@pytest.mark.parametrize("pieces", [1, 5])
async def test_a_request_waits_for_nothing_but_its_body(pieces: int) -> None:
    intercom = Intercom(SECRET)
    intercom.on(TOPIC)(_ignore)
    async with intercom.lifespan(None):
        for number in range(40):
            request = Request(envelope(id=str(number)), pieces=pieces)
            await request.make(intercom.webhooks)
            assert request.status == 200
            check(request.suspensions, 0, "awaits of a request that let the event loop go on")


async def _ignore(notification: Notification) -> None:
    return
