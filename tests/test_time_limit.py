"""A limit on time does what a cancel scope does, on both event loops."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from starlette_intercom.time_limit import TimeLimit, time_limit

pytestmark = pytest.mark.anyio


async def test_work_in_time_is_left_alone() -> None:
    with time_limit(5) as limit:
        await anyio.lowlevel.checkpoint()
    assert not limit.cancelled_caught
    await anyio.lowlevel.checkpoint()


async def test_work_that_takes_too_long_is_cut_off() -> None:
    with time_limit(0.02) as limit:
        await anyio.sleep_forever()
    assert limit.cancelled_caught
    assert anyio.current_time() >= limit.deadline
    await anyio.lowlevel.checkpoint()  # nothing of the cancellation is left


async def test_many_at_once_each_in_its_time() -> None:
    ended: list[float] = []

    async def work(seconds: float) -> None:
        with time_limit(seconds) as limit:
            await anyio.sleep_forever()
        assert limit.cancelled_caught
        assert anyio.current_time() >= limit.deadline
        ended.append(seconds)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for seconds in (0.06, 0.02, 0.04):
                group.start_soon(work, seconds)
    assert sorted(ended) == [0.02, 0.04, 0.06]


async def test_without_a_time_it_is_ended_by_hand() -> None:
    async def end() -> None:
        limit.cancel()

    limit = time_limit(None)
    assert limit.deadline == math.inf
    async with anyio.create_task_group() as group:
        with limit:
            group.start_soon(end)
            await anyio.sleep_forever()
    assert limit.cancelled_caught


async def test_cancelled_before_it_is_entered() -> None:
    limit = time_limit(5)
    limit.cancel()
    with limit:
        await anyio.sleep_forever()
    assert limit.cancelled_caught


async def test_within_each_other_the_right_one_ends() -> None:
    with time_limit(5) as outer:
        with time_limit(0.02) as inner:
            await anyio.sleep_forever()
        assert inner.cancelled_caught
        await anyio.lowlevel.checkpoint()
    assert not outer.cancelled_caught
    with time_limit(0.02) as outer, time_limit(5) as inner:
        await anyio.sleep_forever()
    assert outer.cancelled_caught
    assert not inner.cancelled_caught


@pytest.mark.parametrize("inner_first", [True, False])
async def test_beside_a_cancel_scope_the_right_one_ends(inner_first: bool) -> None:
    with anyio.move_on_after(5 if inner_first else 0.02) as scope:
        with time_limit(0.02 if inner_first else 5) as limit:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
        await anyio.lowlevel.checkpoint()
    assert limit.cancelled_caught is inner_first
    assert scope.cancelled_caught is not inner_first


async def test_a_cancellation_from_outside_goes_through() -> None:
    through = anyio.Event()

    async def work() -> None:
        try:
            with time_limit(5):
                await anyio.sleep_forever()
        finally:
            through.set()

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert through.is_set()


async def test_an_exception_goes_through() -> None:
    with pytest.raises(KeyError), time_limit(5):
        raise KeyError("x")


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_work_that_swallows_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starlette_intercom.time_limit._AGAIN", 0.01)
    swallowed = 0
    with anyio.fail_after(5), time_limit(0.01) as limit:
        while swallowed < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.sleep(60)
    assert limit.cancelled_caught
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_task_that_is_cancelled_by_others_too_stays_cancelled() -> None:
    async def work() -> None:
        with time_limit(None) as limit:
            limits.append(limit)
            await asyncio.sleep(60)

    limits: list[TimeLimit] = []
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    limits[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_asyncio_time_outs_around_it_and_in_it() -> None:
    async def outer() -> None:
        async with asyncio.timeout(0.02):
            with time_limit(5):
                await asyncio.sleep(60)

    async def inner() -> None:
        with time_limit(5):
            async with asyncio.timeout(0.02):
                await asyncio.sleep(60)

    works: list[Callable[[], Awaitable[None]]] = [outer, inner]
    for work in works:
        with pytest.raises(TimeoutError):
            await work()


def test_one_event_loop_after_the_other() -> None:
    async def work() -> None:
        with time_limit(0.01) as limit:
            await anyio.sleep_forever()
        assert limit.cancelled_caught

    for _ in range(3):
        anyio.run(work)
