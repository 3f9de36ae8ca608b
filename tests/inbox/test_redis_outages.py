"""What happens while Redis is away, slow, read-only or out of memory: nothing is lost, and nobody has to restart."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import anyio
import pytest
from anyio.to_thread import run_sync

from starlette_intercom import InboxUnavailable, LeaseLost
from starlette_intercom.inbox.redis import RedisInbox
from starlette_intercom.testing.conformance_model import notification_for
from tests.redis_process import RedisProcess

pytestmark = pytest.mark.anyio

NOTHING: frozenset[str] = frozenset()
KILLS = int(os.environ.get("REDIS_KILLS", "3"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def opened(server: RedisProcess, *, timeout: float = 1) -> AsyncIterator[RedisInbox]:
    inbox = RedisInbox(server.url, timeout=timeout)
    await inbox.open()
    try:
        yield inbox
    finally:
        await inbox.close()


async def accept(inbox: RedisInbox, key: str) -> bool:
    return await inbox.accept(notification_for(key), key=key)


async def until_accepted(inbox: RedisInbox, key: str) -> bool:
    """Deliver as Intercom does: again after an answer that was not 200."""
    with anyio.fail_after(30):
        while True:
            try:
                return await accept(inbox, key)
            except InboxUnavailable:
                await anyio.sleep(0.02)


async def test_killed_and_restarted_under_load_it_loses_nothing_that_was_accepted(redis_process: RedisProcess) -> None:
    accepted: set[str] = set()
    completed: Counter[str] = Counter()
    leases: Counter[tuple[str, int]] = Counter()
    numbers = count()
    stopping = False
    enough = anyio.Event()
    goal = 0

    async with opened(redis_process) as inbox:

        async def deliver() -> None:
            while not stopping:
                key = str(next(numbers))
                try:
                    await accept(inbox, key)
                except InboxUnavailable:
                    await anyio.sleep(0.01)
                else:
                    accepted.add(key)
                    if len(accepted) >= goal:
                        enough.set()

        async def handle() -> None:
            while not stopping:
                try:
                    claims = await inbox.claim(5, lease=2)
                    if not claims:
                        await inbox.wait(0.1)
                    for claim in claims:
                        leases[claim.delivery.id, claim.delivery.fencing] += 1
                        await inbox.complete(claim)
                        completed[claim.delivery.id] += 1
                except InboxUnavailable:
                    await anyio.sleep(0.01)
                except LeaseLost:
                    continue

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(deliver)
                tasks.start_soon(handle)
            for _ in range(KILLS):
                enough, goal = anyio.Event(), len(accepted) + 300
                await enough.wait()
                redis_process.kill()
                await anyio.sleep(0.3)  # everybody notices
                await run_sync(redis_process.start)
            stopping = True
        await anyio.sleep(2)  # the leases of what was claimed and not answered
        while claims := await inbox.claim(100, lease=30):
            for claim in claims:
                await inbox.complete(claim)
        stats = await inbox.stats()
        assert (stats.waiting, stats.running, stats.scheduled, stats.dead) == (0, 0, 0, 0)
        assert len(accepted) >= 300 * KILLS
        for key in accepted:
            assert not await accept(inbox, key), f"{key} was accepted and is not known any more"
    assert max(completed.values()) == 1, "completed twice"
    assert max(leases.values()) == 1, "two valid leases"


@pytest.mark.parametrize("how", ["SIGSTOP", "CLIENT PAUSE"])
async def test_while_it_hangs_everything_fails_in_time_and_is_not_done_later(
    redis_process: RedisProcess, how: str
) -> None:
    async with opened(redis_process) as inbox:
        await accept(inbox, "a")
        await accept(inbox, "b")
        (held,) = await inbox.claim(1, lease=60)
        if how == "SIGSTOP":
            redis_process.send(signal.SIGSTOP)
        else:
            redis_process.client().client_pause(3500)
        began = anyio.current_time()
        calls = (
            lambda: accept(inbox, "c"),
            lambda: inbox.claim(1, lease=60),
            lambda: inbox.complete(held),
            lambda: inbox.renew([held], lease=60),
            lambda: inbox.stats(),
            lambda: inbox.list_dead(),
        )

        async def fails(call: object) -> None:
            with pytest.raises(InboxUnavailable, match="did not answer within"):
                await call()  # type: ignore[operator]

        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(fails, call)
        assert anyio.current_time() - began < 4, "not within a bounded time"
        if how == "SIGSTOP":
            redis_process.send(signal.SIGCONT)
        with redis_process.client() as client:
            assert client.ping()  # also answered when the pause is over
        assert await accept(inbox, "c"), "what was answered with 503 was done all the same"
        taken = await inbox.claim(9, lease=60)
        assert [claim.delivery.id for claim in taken] == ["b", "c"], "a claim that nobody heard of took something"
        assert [claim.delivery.attempt for claim in taken] == [1, 1]
        await inbox.complete(held)


async def test_a_replica_is_refused_until_it_is_a_master_again(redis_process: RedisProcess) -> None:
    async with opened(redis_process) as inbox:
        await accept(inbox, "a")
        with redis_process.client() as client:
            client.replicaof("127.0.0.1", "1")
            with pytest.raises(InboxUnavailable, match="read-only replica"):
                await accept(inbox, "b")
            with pytest.raises(InboxUnavailable):
                await inbox.claim(1, lease=30)
            client.replicaof("NO", "ONE")
        assert await until_accepted(inbox, "b")
        assert len(await inbox.claim(9, lease=30)) == 2


async def test_out_of_memory_it_takes_nothing_in_and_finishes_what_it_has(redis_process: RedisProcess) -> None:
    async with opened(redis_process) as inbox:
        for key in "abcdefg":
            await inbox.accept(notification_for(key), key=key, group="g" if key in "ab" else None)
        held = await inbox.claim(4, lease=30)
        with redis_process.client() as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(InboxUnavailable, match="out of memory"):
                await accept(inbox, "h")
            assert not await inbox.renew(held, lease=30)
            await inbox.mark(held[0], done=frozenset({"x"}), failures=())
            await inbox.complete(held[0])
            await inbox.retry(held[1], after=0, done=NOTHING, failures=())
            await inbox.bury(held[2], handlers=("x",), done=NOTHING, failures=())
            await inbox.release(held[3], done=NOTHING, failures=())
            assert await inbox.replay() == 1
            assert len(await inbox.dispatch(2, again_after=60)) == 2
            for claim in await inbox.claim(9, lease=30):
                await inbox.complete(claim)
            assert (await inbox.stats()).done == 7
            client.config_set("maxmemory", "0")
        assert await accept(inbox, "h")


async def test_one_who_gives_up_does_not_take_the_others_along(redis_process: RedisProcess) -> None:
    async with opened(redis_process) as inbox:
        new: list[bool] = []

        async def deliver(key: str) -> None:
            new.append(await accept(inbox, key))

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as impatient:
                async with anyio.create_task_group() as cut_off:
                    for number in range(5):
                        tasks.start_soon(deliver, f"kept {number}")
                        cut_off.start_soon(deliver, f"given up {number}")
                    await anyio.lowlevel.checkpoint()
                    impatient.cancel()
        assert new == [True] * 5


async def test_a_forgotten_script_is_sent_again(redis_process: RedisProcess) -> None:
    async with opened(redis_process) as inbox:
        redis_process.client().script_flush()
        assert await accept(inbox, "a")
        assert len(await inbox.claim(9, lease=30)) == 1
