"""The runner of one's own in the examples: takes one delivery after the other, and drains as the contract says."""

from __future__ import annotations

import anyio
import pytest

from starlette_intercom import Intercom, Notification
from starlette_intercom.testing.conformance_model import notification_for
from tests.examples.conftest import Load
from tests.factories import SECRET

pytestmark = pytest.mark.anyio

TOPIC = "contact.user.created"


async def test_it_takes_one_after_the_other_and_finishes_what_it_began(load: Load) -> None:
    runner = load("own_runner").OneByOne()
    intercom = Intercom(SECRET, runner=runner)
    running = most = 0
    seen = anyio.Semaphore(0)

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        running -= 1
        seen.release()

    with anyio.fail_after(20):
        async with intercom.lifespan(None):
            assert (await intercom.health()).ok
            for number in range(5):
                await intercom.inbox.accept(notification_for("a", topic=TOPIC), key=str(number))
            for _ in range(5):
                await seen.acquire()
    assert most == 1
    assert not runner.alive


async def test_what_does_not_finish_in_time_is_given_back(load: Load) -> None:
    intercom = Intercom(SECRET, runner=load("own_runner").OneByOne(), drain_timeout=0)
    began = anyio.Event()

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        began.set()
        await anyio.sleep_forever()

    with anyio.fail_after(20):
        async with intercom.lifespan(None):
            await intercom.inbox.accept(notification_for("a", topic=TOPIC), key="a")
            await began.wait()
    (claim,) = await intercom.inbox.claim(1, lease=30)
    assert (claim.delivery.attempt, claim.recovered) == (1, False)
