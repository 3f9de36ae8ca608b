"""What the Redis inbox keeps, and how often it asks."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from starlette_intercom.inbox.redis import RedisInbox
from starlette_intercom.testing.conformance_model import notification_for
from tests.redis_process import RedisProcess

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def calls_of(server: RedisProcess) -> int:
    with server.client() as client:
        return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


async def test_what_waits_at_the_same_time_shares_a_round_trip(redis_process: RedisProcess) -> None:
    inbox = RedisInbox(redis_process.url)
    await inbox.open()
    before = calls_of(redis_process)
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(partial(inbox.accept, notification_for("a"), key=str(number)))
    after_accepting = calls_of(redis_process)
    claims = await inbox.claim(100, lease=30)
    async with anyio.create_task_group() as tasks:
        for claim in claims:
            tasks.start_soon(inbox.complete, claim)
    after_completing = calls_of(redis_process)
    await inbox.close()
    assert len(claims) == 100
    assert after_accepting - before <= 2
    assert after_completing - after_accepting <= 3


async def test_a_completed_delivery_keeps_its_key_and_nothing_else(redis_process: RedisProcess) -> None:
    inbox = RedisInbox(redis_process.url, prefix="shop")
    await inbox.open()
    for key in ("a", "b"):
        await inbox.accept(notification_for(key), key=key, group="g")
    for _ in range(2):
        (claim,) = await inbox.claim(9, lease=30)
        await inbox.complete(claim)
    await inbox.close()
    with redis_process.client() as client:
        assert sorted(client.keys("*")) == [b"{shop}:arrivals", b"{shop}:done", b"{shop}:fencing"]
        assert client.zrange("{shop}:done", 0, -1) == [b"a", b"b"]


async def test_what_another_process_accepts_is_found_soon(shared_redis: RedisProcess) -> None:
    web, worker = (RedisInbox(shared_redis.url, prefix="two processes") for _ in range(2))
    await web.open()
    await worker.open()
    assert not await worker.claim(1, lease=30)
    await web.accept(notification_for("a"), key="a")
    with anyio.fail_after(5):
        await worker.wait(60)
    assert len(await worker.claim(1, lease=30)) == 1
    await web.close()
    await worker.close()


async def test_it_can_be_opened_again(shared_redis: RedisProcess) -> None:
    inbox = RedisInbox(shared_redis.url, prefix="again")
    for known in (False, True):
        await inbox.open()
        assert await inbox.accept(notification_for("a"), key="a") is not known
        await inbox.close()
        await inbox.close()


async def test_many_dead_letters_are_listed_replayed_and_purged(shared_redis: RedisProcess) -> None:
    inbox = RedisInbox(shared_redis.url, prefix="dead")
    await inbox.open()
    for number in range(450):
        await inbox.accept(notification_for("a", topic=f"topic.{number % 2}"), key=str(number))
    for claim in await inbox.claim(450, lease=30):
        await inbox.bury(claim, handlers=("über",), done=frozenset(), failures=())
    assert len(await inbox.list_dead(handler="über", limit=430)) == 430
    assert await inbox.list_dead(handler="other") == []
    assert await inbox.replay(topic="topic.1") == 225
    assert await inbox.purge() == 225
    assert len(await inbox.claim(999, lease=30)) == 225
    await inbox.close()
