"""Who has looked, by claim or by dispatch, waits until there is something new: otherwise it would ask without pause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from starlette_intercom import Inbox, MemoryInbox, SQLiteInbox
from starlette_intercom.inbox.redis import RedisInbox
from starlette_intercom.testing.conformance_model import notification_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite", "redis"])
def inbox(request: pytest.FixtureRequest, anyio_backend: str, tmp_path: Path) -> Inbox:
    if request.param == "memory":
        return MemoryInbox()
    if request.param == "sqlite":
        return SQLiteInbox(tmp_path / "inbox.db")
    if anyio_backend != "asyncio":
        pytest.skip("redis-py runs on asyncio only")
    return RedisInbox(request.getfixturevalue("shared_redis").url, prefix=f"wait {tmp_path.name}")


async def claim(inbox: Inbox) -> object:
    return await inbox.claim(5, lease=30)


async def dispatch(inbox: Inbox) -> object:
    return await inbox.dispatch(5, again_after=60)


@pytest.mark.parametrize("look", [claim, dispatch])
async def test_after_everything_was_found_it_waits_for_what_is_new(
    inbox: Inbox, look: Callable[[Inbox], Awaitable[object]]
) -> None:
    returned = anyio.Event()

    async def wait() -> None:
        await inbox.wait(60)
        returned.set()

    await inbox.open()
    await inbox.accept(notification_for("a"), key="a")
    assert await look(inbox)
    assert not await look(inbox)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            assert not returned.is_set()
            await inbox.accept(notification_for("b"), key="b")
    assert await look(inbox)
    await inbox.close()
