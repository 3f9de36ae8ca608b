"""Whatever a handler raises hurts nobody else."""

from __future__ import annotations

import pytest

from starlette_intercom import Notification, Retry
from tests.handling.kit import TOPIC, Group, Stage

pytestmark = pytest.mark.anyio


class Unlikely(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this works")


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        GeneratorExit(),
        MemoryError(),
        RecursionError(),
        StopIteration(),
        StopAsyncIteration(),
        AssertionError(),
        Unlikely(),
        TimeoutError(),
        ExceptionGroup("several", [ValueError(), Retry(5)]),
        BaseExceptionGroup("several", [SystemExit()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_handler_raises_hurts_nobody(error: BaseException) -> None:
    stage = Stage()
    group = Group(stage)
    group.add("first")
    group.add("raises", error)
    group.add("last")
    await stage.deliver()
    await stage.work_off()
    assert group.ran == ["first", "raises", "last", "raises"]
    assert (await stage.inbox.stats()).done == 1


async def test_a_recursion_without_end_is_a_failure() -> None:
    stage = Stage()

    def down(notification: Notification) -> None:
        down(notification)

    async def down_async(notification: Notification) -> None:
        await down_async(notification)

    stage.handlers.on(TOPIC, handler=down, retries=0)
    stage.handlers.on(TOPIC, handler=down_async, retries=0)
    await stage.deliver()
    await stage.work_off()
    assert [failure.error for failure in (await stage.dead()).failures] == ["RecursionError"] * 2
