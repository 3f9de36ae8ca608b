"""What a notification costs with Redis, alone and among others that come at the same time: counted, not timed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from starlette_intercom.inbox.redis import RedisInbox
from tests.costs.app import App
from tests.costs.counting import CountingLoop, check, counting_loop
from tests.redis_process import RedisProcess, require_redis

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return "asyncio", {"loop_factory": CountingLoop}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    require_redis()
    with RedisProcess(tmp_path_factory.mktemp("redis"), "--appendfsync", "no") as server:
        yield server


@pytest.fixture
def app(server: RedisProcess, request: pytest.FixtureRequest) -> App:
    return App(RedisInbox(server.url, prefix=request.node.name, timeout=60))


def commands_of(server: RedisProcess) -> int:
    """Return how many commands the server was sent so far, beside those that ask for it."""
    with server.client() as client:
        commands = client.info("commandstats")
    return sum(stats["calls"] for name, stats in commands.items() if name.startswith("cmdstat_eval"))


@pytest.mark.parametrize(
    ("together", "bound"),
    [
        (1, 4),  # 4 on 2026-11-23: accept, claim, complete, and a claim that finds nothing
        (32, 0.15),  # 0.125 on 2026-11-23: the same 4
    ],
)
async def test_round_trips_per_notification(app: App, server: RedisProcess, together: int, bound: float) -> None:
    async with app.started():
        spent = await app.cost(together, lambda: commands_of(server), rounds=15)
    check(spent, bound, "round trips to Redis")


@pytest.mark.parametrize(
    ("together", "bound"),
    [
        (1, 4),  # 3 on 2026-11-23: one for each round trip, unless the one before it still runs
        (32, 0.15),  # 0.094 on 2026-11-23: the same 3
    ],
)
async def test_task_starts_per_notification(app: App, together: int, bound: float) -> None:
    loop = counting_loop()
    async with app.started():
        spent = await app.cost(together, lambda: loop.tasks_of_others("tests", "redis"), rounds=15)
    check(spent, bound, "task starts", details=f"{loop.tasks}")
