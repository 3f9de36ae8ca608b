"""The workers: nothing that is ready is left lying, and nothing runs too often at once."""

from __future__ import annotations

import itertools
import random

import anyio
import anyio.lowlevel
import pytest

from starlette_intercom import ConfigurationError, Notification, Run, TaskGroupRunner
from tests.handling.kit import TOPIC, Stage, running

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("concurrency", [1, 2, 7, 100])
async def test_everything_is_run_and_never_too_much_at_once(stage: Stage, concurrency: int) -> None:
    randomness = random.Random(concurrency)
    now = most = 0
    seen: list[str | None] = []

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if pause := randomness.choice([None, None, 0.0, 0.001, 0.003]):
            await anyio.sleep(pause)
        elif pause is not None:
            await anyio.lowlevel.checkpoint()
        seen.append(notification.id)
        now -= 1

    async with running(stage, TaskGroupRunner(concurrency)):
        for _ in range(300):
            await stage.deliver()
            if randomness.random() < 0.3:
                await anyio.sleep(randomness.choice([0, 0.001]))
        await stage.finished(300)
    assert len(seen) == len(set(seen)) == 300
    assert most <= concurrency


@pytest.mark.parametrize("concurrency", [1, 2, 100])
async def test_no_wake_up_is_lost(stage: Stage, concurrency: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing but the news of the inbox to go by, since asking again comes far too late."""
    monkeypatch.setattr("starlette_intercom.handling.runner._POLL", 3600)
    randomness = random.Random(concurrency)

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        for _ in range(randomness.randrange(4)):
            await anyio.lowlevel.checkpoint()

    async with running(stage, TaskGroupRunner(concurrency)):
        for count in range(1, 200):
            await stage.deliver()
            for _ in range(randomness.randrange(6)):
                await anyio.lowlevel.checkpoint()
            if randomness.random() < 0.1:
                await stage.finished(count)
        await stage.finished(199)


async def test_as_many_run_at_once_as_may(stage: Stage) -> None:
    everybody = anyio.Event()
    now = 0

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        nonlocal now
        now += 1
        if now == 5:
            everybody.set()
        await everybody.wait()

    for _ in range(5):
        await stage.deliver()
    async with running(stage, TaskGroupRunner(5)):
        await stage.finished(5)


async def test_one_slow_delivery_holds_up_nobody(stage: Stage) -> None:
    release = anyio.Event()

    @stage.handlers.on("ticket.created")
    async def slow(notification: Notification) -> None:
        await release.wait()

    @stage.handlers.on(TOPIC)
    async def fast(notification: Notification) -> None: ...

    async with running(stage, TaskGroupRunner(2)):
        await stage.deliver("ticket.created")
        for count in range(1, 50):
            await stage.deliver()
            await stage.finished(count)
        release.set()


async def turns_at_which_they_begin(stage: Stage, count: int, *, size: int, concurrency: int) -> list[int]:
    """Have deliveries run whose items have a size in bytes; return how often the event loop had gone round for each."""
    turns = 0
    began: list[int] = []

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        began.append(turns)

    async def go_round() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    for _ in range(count):
        await stage.deliver(item={"text": "x" * size})
    async with anyio.create_task_group() as group:
        group.start_soon(go_round)
        async with running(stage, TaskGroupRunner(concurrency)):
            await stage.finished(count)
        group.cancel_scope.cancel()
    assert len(began) == count
    return began


@pytest.mark.parametrize("concurrency", [1, 4, 100])
async def test_between_two_large_items_a_request_can_be_answered(stage: Stage, concurrency: int) -> None:
    """To decode one may take long; several without a pause would keep everything else on the event loop waiting."""
    began = await turns_at_which_they_begin(stage, 8, size=600_000, concurrency=concurrency)
    assert all(later - earlier >= 4 for earlier, later in itertools.pairwise(began))


async def test_ordinary_items_are_not_held_up(stage: Stage) -> None:
    """Requests would bring in more in those turns than is handled, until the inbox is full."""
    began = await turns_at_which_they_begin(stage, 64, size=100_000, concurrency=100)
    assert began[-1] - began[0] < 64 / 4


async def test_deliveries_of_one_group_keep_their_order_and_others_run_beside_them(stage: Stage) -> None:
    order: dict[str, list[int]] = {}
    running_now: set[str] = set()
    most = 0

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        nonlocal most
        key = notification.item["state"]
        assert key not in running_now
        running_now.add(key)
        most = max(most, len(running_now))
        await anyio.sleep(random.random() / 500)
        order.setdefault(key, []).append(notification.created_at)
        running_now.remove(key)

    for created_at in random.sample(range(20), 20):
        for key in "abc":
            await stage.deliver(group=key, created_at=1_760_000_000 + created_at, **{"item.state": key})
    async with running(stage, TaskGroupRunner(10)):
        await stage.finished(60)
    assert order == {key: [1_760_000_000 + number for number in range(20)] for key in "abc"}
    assert most == 3


async def test_it_runs_in_a_task_group_of_the_users_own(stage: Stage) -> None:
    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None: ...

    async with anyio.create_task_group() as own, anyio.create_task_group() as not_used:
        runner = TaskGroupRunner(task_group=own)
        assert not runner.alive
        not_used.cancel_scope.cancel()
        await runner.start(stage.processor, not_used)
        assert runner.alive
        with anyio.CancelScope(shield=True):
            await stage.deliver()
            await stage.finished(1)
            await runner.drain(5)
        assert not own.cancel_scope.cancel_called


async def test_it_survives_that_the_group_around_it_is_cancelled(stage: Stage) -> None:
    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        await anyio.sleep_forever()

    runner = TaskGroupRunner()
    async with anyio.create_task_group() as group:
        await runner.start(stage.processor, group)
        await stage.deliver()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert not runner.alive
    await runner.drain(5)
    assert (await stage.inbox.stats()).waiting == 1


@pytest.mark.parametrize("concurrency", [0, -1])
def test_there_must_be_a_worker(concurrency: int) -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        TaskGroupRunner(concurrency)


async def test_a_worker_goes_on_after_a_handler_that_it_had_to_stop(stage: Stage) -> None:
    ran: list[str] = []

    @stage.handlers.on(TOPIC, timeout=0.01, retries=0)
    async def too_slow(notification: Notification) -> None:
        ran.append("too slow")
        await anyio.sleep_forever()

    @stage.handlers.on(TOPIC)
    async def next_one(notification: Notification) -> None:
        await anyio.sleep(0.02)
        ran.append("next")

    async with running(stage, TaskGroupRunner(1)):
        await stage.deliver()
        await stage.deliver()
        with anyio.fail_after(5):
            while (await stage.inbox.stats()).dead < 2:
                await anyio.sleep(0.01)
    assert ran == ["too slow", "next"] * 2


async def test_a_handler_that_will_not_be_stopped_has_succeeded_after_all(stage: Stage) -> None:
    @stage.handlers.on(TOPIC, timeout=0.01)
    async def stubborn(notification: Notification) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)

    async with running(stage, TaskGroupRunner(1)):
        await stage.deliver()
        await stage.deliver()
        await stage.finished(2)


async def test_a_worker_survives_a_defect_of_ours(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    advance = stage.processor.advance
    met: list[str] = []

    async def broken_once(run: Run, scope: anyio.CancelScope) -> bool:
        if not met:
            met.append("defect")
            raise ZeroDivisionError
        return await advance(run, scope)

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None: ...

    monkeypatch.setattr(stage.processor, "advance", broken_once)
    async with running(stage, TaskGroupRunner(1)):
        await stage.deliver()
        await stage.deliver()
        await stage.finished(1)
    assert "unexpected error" in caplog.text
    assert (await stage.inbox.stats()).running == 1  # until its lease ends
