"""Stopping: running handlers finish or are released in time, whatever hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import anyio
import pytest

from starlette_intercom import MemoryInbox, Notification, TaskGroupRunner
from tests.handling.faulty import FaultyInbox
from tests.handling.kit import TOPIC, Stage, running, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
async def stage() -> Stage:
    return Stage()


@pytest.fixture
async def durable() -> Stage:
    """A stage whose inbox passes for one that outlives the process."""
    return Stage(inbox=FaultyInbox(MemoryInbox()))


async def test_draining_what_was_never_started_does_nothing(stage: Stage) -> None:
    runner = TaskGroupRunner()
    await runner.drain(5)
    assert not runner.alive


async def test_drain_lets_running_handlers_finish_and_a_durable_inbox_keep_the_rest(durable: Stage) -> None:
    begun, release = anyio.Event(), anyio.Event()

    @durable.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        begun.set()
        await release.wait()

    runner = TaskGroupRunner(1)
    for _ in range(3):
        await durable.deliver()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            await runner.start(durable.processor, group)
            await begun.wait()
            group.start_soon(runner.drain, 3600)
            await anyio.wait_all_tasks_blocked()
            release.set()
    stats = await durable.inbox.stats()
    assert (stats.done, stats.waiting, stats.running) == (1, 2, 0)


async def test_drain_works_off_what_an_inbox_in_memory_has(stage: Stage) -> None:
    begun, release = anyio.Event(), anyio.Event()

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        begun.set()
        await release.wait()

    runner = TaskGroupRunner(2)
    for _ in range(50):
        await stage.deliver()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            await runner.start(stage.processor, group)
            await begun.wait()
            group.start_soon(runner.drain, 3600)
            await anyio.wait_all_tasks_blocked()
            release.set()
    assert (await stage.inbox.stats()).done == 50


@pytest.mark.parametrize("durable", [True, False])
async def test_what_drain_cuts_off_is_released(durable: bool, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(inbox=FaultyInbox(MemoryInbox(), durable=durable))
    attempts: list[int] = []

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        attempts.append(1)
        await anyio.sleep_forever()

    for _ in range(5):
        await stage.deliver()
    async with running(stage, TaskGroupRunner(3), drain=0.01):
        await until(lambda: len(attempts) == 3)
    stats = await stage.inbox.stats()
    assert (stats.waiting, stats.running) == (5, 0)
    claims = await stage.inbox.claim(10, lease=30)
    assert {claim.delivery.attempt for claim in claims} == {1}
    assert not any(claim.recovered for claim in claims)
    assert "3 deliveries were released" in caplog.text


@pytest.mark.parametrize("durable", [True, False])
async def test_drain_ends_in_time_though_plain_functions_hang(durable: bool, gate: threading.Event) -> None:
    """What runs in threads keeps its lease; what waits is not begun any more."""
    stage = Stage(inbox=FaultyInbox(MemoryInbox(), durable=durable))
    begun: list[int] = []

    @stage.handlers.on(TOPIC)
    def hangs(notification: Notification) -> None:
        begun.append(1)
        assert gate.wait(30)

    for _ in range(10):
        await stage.deliver()
    async with running(stage, TaskGroupRunner(2), drain=0.05):
        await until(lambda: len(begun) == 2)
        before = anyio.current_time()
    assert anyio.current_time() - before < 5
    assert len(begun) == 2
    stats = await stage.inbox.stats()
    assert (stats.running, stats.waiting) == (2, 8)


async def test_drain_ends_in_time_though_the_inbox_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starlette_intercom.handling.processor._RELEASE_TIME", 0.02)
    inbox = FaultyInbox(MemoryInbox())
    stage = Stage(inbox=inbox)
    begun: list[int] = []

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        begun.append(1)
        await anyio.sleep_forever()

    for _ in range(20):
        await stage.deliver()
    inbox.will("release", "hangs", times=20)
    async with running(stage, TaskGroupRunner(20), drain=0.01):
        await until(lambda: len(begun) == 20)
        before = anyio.current_time()
    assert anyio.current_time() - before < 5
    assert (await stage.inbox.stats()).running == 20
