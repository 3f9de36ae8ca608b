"""One call of one handler or hook: within its time, and with everything that it raises kept in."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from starlette_intercom import Notification
from starlette_intercom.handling import calling
from tests.handling.kit import TOPIC, Stage, notification

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage() -> Stage:  # asynchronous, since a processor belongs to an event loop
    return Stage(chance=lambda: 1.0)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What plain functions wait for; opened at the end in any case, so that no thread outlives its test."""
    gate = threading.Event()
    yield gate
    gate.set()


async def run_once(stage: Stage) -> None:
    await stage.deliver()
    assert await stage.work() == 1


async def test_a_handler_has_a_time_limit(stage: Stage) -> None:
    stopped: list[str] = []

    @stage.handlers.on(TOPIC, timeout=0.01, retries=0)
    async def slow(notification: Notification) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append("cleaned up")

    @stage.handlers.on(TOPIC)
    async def next_one(notification: Notification) -> None:
        stopped.append("next")

    await run_once(stage)
    assert stopped == ["cleaned up", "next"]
    letter = await stage.dead()
    assert letter.handlers == (f"{__name__}.test_a_handler_has_a_time_limit.<locals>.slow",)
    assert (letter.failures[0].error, letter.failures[0].message) == ("TimeoutError", "Not finished within 0.01 s")


async def test_each_handler_has_its_own_time(stage: Stage) -> None:
    async def waits(notification: Notification) -> None:
        await anyio.sleep_forever()

    async def waits_a_moment(notification: Notification) -> None:
        await anyio.sleep(0.03)

    stage.handlers.on(TOPIC, handler=waits, name="0", timeout=0.02, retries=0)
    stage.handlers.on(TOPIC, handler=waits, name="1", timeout=0.01, retries=0)
    stage.handlers.on(TOPIC, handler=waits_a_moment, name="2", timeout=50.0, retries=0)
    stage.handlers.on(TOPIC, handler=waits_a_moment, name="3", timeout=None, retries=0)
    await run_once(stage)
    letter = await stage.dead()
    assert letter.handlers == ("0", "1")
    said = [failure.message for failure in letter.failures]
    assert said == ["Not finished within 0.02 s", "Not finished within 0.01 s"]


async def test_plain_functions_run_in_threads(stage: Stage) -> None:
    threads: list[int] = []

    @stage.handlers.on(TOPIC)
    def plain(notification: Notification) -> None:
        anyio.from_thread.check_cancelled()
        threads.append(threading.get_ident())

    await run_once(stage)
    assert threads
    assert threads[0] != threading.get_ident()
    assert (await stage.inbox.stats()).done == 1


async def test_a_plain_function_is_not_cut_off_by_its_time_limit(
    stage: Stage, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    @stage.handlers.on(TOPIC, timeout=0.01)
    def slow(notification: Notification) -> None:
        assert gate.wait(10)

    await stage.deliver()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.work)
        await anyio.sleep(0.05)  # longer than the time limit
        assert (await stage.inbox.stats()).running == 1
        gate.set()
    assert (await stage.inbox.stats()).done == 1
    assert "longer than its 0.01 s" in caplog.text


async def test_a_plain_function_around_an_asynchronous_one_is_awaited(stage: Stage) -> None:
    ran: list[str] = []

    def traced(function: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Awaitable[None]:
            return function(*args)

        return wrapper

    @stage.handlers.on(TOPIC)
    @traced
    async def handler(notification: Notification) -> None:
        await anyio.lowlevel.checkpoint()
        ran.append("handler")
        raise ValueError

    @stage.handlers.on_error
    @traced
    async def hook(notification: Notification) -> None:
        await anyio.lowlevel.checkpoint()
        ran.append("hook")

    await run_once(stage)
    assert ran == ["handler", "hook"]
    assert (await stage.inbox.stats()).scheduled == 1


@pytest.mark.parametrize("error", [SystemExit(), StopIteration(), GeneratorExit(), MemoryError()])
async def test_whatever_a_thread_raises_is_a_failure(stage: Stage, error: BaseException) -> None:
    @stage.handlers.on(TOPIC)
    def plain(notification: Notification) -> None:
        raise error

    await run_once(stage)
    assert (await stage.inbox.stats()).scheduled == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_cancellation_of_its_own_is_a_failure(stage: Stage) -> None:
    @stage.handlers.on(TOPIC)
    async def awaits_what_was_cancelled(notification: Notification) -> None:
        task = asyncio.ensure_future(asyncio.sleep(3600))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    @stage.handlers.on(TOPIC)
    async def raises(notification: Notification) -> None:
        raise asyncio.CancelledError

    @stage.handlers.on_error
    async def hook(notification: Notification) -> None:
        raise asyncio.CancelledError

    await run_once(stage)
    assert (await stage.inbox.stats()).scheduled == 1


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_an_interrupt_is_for_the_whole_process(stage: Stage, plain: bool) -> None:
    """The delivery stays claimed, as after a crash, and is run again when its lease has ended."""

    async def interrupted(notification: Notification) -> None:
        raise KeyboardInterrupt

    def interrupted_thread(notification: Notification) -> None:
        raise KeyboardInterrupt

    stage.handlers.on(TOPIC, handler=interrupted_thread if plain else interrupted)
    await stage.deliver()
    with pytest.raises(KeyboardInterrupt):
        await stage.work()
    assert (await stage.inbox.stats()).running == 1


async def test_an_interrupt_in_a_hook_is_for_the_whole_process(stage: Stage) -> None:
    @stage.handlers.on_unhandled
    async def hook(notification: Notification) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await stage.processor.unhandled(notification("ping"))


async def test_a_cancellation_from_outside_goes_on(stage: Stage) -> None:
    went_on = False

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        await anyio.sleep_forever()

    await stage.deliver()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.work)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
        went_on = True
    assert scope.cancelled_caught
    assert not went_on
    assert (await stage.inbox.stats()).waiting == 1


@pytest.mark.parametrize(
    "error", [ValueError("a-payload"), SystemExit(), GeneratorExit(), MemoryError()], ids=lambda error: type(error)
)
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_whatever_a_hook_raises_is_only_logged(
    stage: Stage, error: BaseException, plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    async def broken(notification: Notification) -> None:
        raise error

    def broken_thread(notification: Notification) -> None:
        raise error

    def good(notification: Notification) -> None:
        heard.append(notification.topic)

    for hook in (broken_thread if plain else broken, good):
        stage.handlers.on_error(hook)
        stage.handlers.on_unhandled(hook)

    @stage.handlers.on(TOPIC)
    async def fails(notification: Notification) -> None:
        raise ValueError

    await run_once(stage)
    await stage.processor.unhandled(notification("ping"))
    assert heard == [TOPIC, "ping"]
    assert (await stage.inbox.stats()).scheduled == 1
    lines = [record for record in caplog.records if record.getMessage().startswith("The hook")]
    assert [record.levelno for record in lines] == [logging.ERROR] * 2


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_hook_that_hangs_is_given_up(
    stage: Stage, plain: bool, gate: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(calling, "HOOK_TIME", 0.01)

    async def hangs(notification: Notification) -> None:
        await anyio.sleep_forever()

    def hangs_in_thread(notification: Notification) -> None:
        assert gate.wait(10)

    stage.handlers.on_unhandled(hangs_in_thread if plain else hangs)
    await stage.processor.unhandled(notification("ping"))
    assert "The hook" in caplog.text


async def test_a_hook_is_cancelled_with_its_request(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    @stage.handlers.on_unhandled
    async def slow(notification: Notification) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(0.01) as scope:
        await stage.processor.unhandled(notification("ping"))
    assert scope.cancelled_caught
    assert not caplog.records


async def test_who_is_not_waited_for_keeps_the_lease(
    stage: Stage, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread cannot be stopped: it may still succeed, so nobody may run its delivery before the lease ends."""
    begun = anyio.Event()

    @stage.handlers.on(TOPIC)
    def slow(notification: Notification) -> None:
        anyio.from_thread.run_sync(begun.set)
        assert gate.wait(10)

    await stage.deliver()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.work)
        await begun.wait()
        stage.processor.abandon_threads()
    assert (await stage.inbox.stats()).running == 1
    assert "slow' was still running in its thread" in caplog.text


async def test_no_thread_is_begun_once_the_run_is_cancelled(stage: Stage) -> None:
    ran: list[str] = []

    @stage.handlers.on(TOPIC)
    def plain(notification: Notification) -> None:
        ran.append("plain")

    await stage.deliver()
    (run,) = await stage.processor.claim(1)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stage.processor.process(run)
    assert ran == []
    assert (await stage.inbox.stats()).waiting == 1
