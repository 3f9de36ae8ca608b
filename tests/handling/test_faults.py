"""An inbox that raises, hangs, or loses its answer at each call in turn: the workers live on, and nothing is lost."""

from __future__ import annotations

import anyio
import anyio.from_thread
import pytest

from starlette_intercom import Backoff, MemoryInbox, Notification, Reject, TaskGroupRunner
from starlette_intercom.handling import leases, processor
from tests.handling.faulty import FAULTS, Fault, FaultyInbox
from tests.handling.kit import LEASE, TOPIC, Clock, Stage, running, until

pytestmark = pytest.mark.anyio

SHORT = 0.03  # seconds of a lease that the tests wait for


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def inbox(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> FaultyInbox:
    monkeypatch.setattr(leases, "_LONGEST_PAUSE", 0.01)
    return FaultyInbox(MemoryInbox(clock=clock))


def short_lease(inbox: FaultyInbox) -> Stage:
    stage = Stage(inbox=inbox)
    stage.processor = processor.Processor(inbox, stage.handlers, stage.services, lease=SHORT, chance=lambda: 0.0)
    return stage


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", ["claim", "wait", "renew", "mark", "complete", "retry", "bury"])
async def test_workers_survive_whatever_the_inbox_does(
    method: str, fault: Fault, inbox: FaultyInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starlette_intercom.handling.runner._POLL", 0.01)
    inbox.inbox = MemoryInbox()  # on the real clock: leases that nobody holds have to end
    stage = short_lease(inbox)
    ran: list[str] = []
    flaky = True

    @stage.handlers.on("contact.created")
    async def good(notification: Notification) -> None:
        ran.append("good")

    @stage.handlers.on(TOPIC, backoff=Backoff(base=0.001))
    async def fails_once(notification: Notification) -> None:
        nonlocal flaky
        if flaky:
            flaky = False
            raise ValueError

    @stage.handlers.on(TOPIC)
    async def beside(notification: Notification) -> None:
        ran.append("beside")

    @stage.handlers.on("ticket.created")
    async def refuses(notification: Notification) -> None:
        await anyio.sleep(2 * SHORT)  # long enough to be renewed
        raise Reject("no")

    inbox.will(method, fault, times=2)
    async with running(stage, TaskGroupRunner(2)):
        for topic in ("contact.created", TOPIC, "ticket.created"):
            await stage.deliver(topic)
        stats = await stage.finished(3)
    assert inbox.faults[method] == []
    # Whoever could not report was run again; and only what was refused is dead.
    assert (stats.done, stats.dead) == (2, 1)
    assert set(ran) == {"good", "beside"}
    assert (await stage.dead()).topic == "ticket.created"


async def test_nothing_is_completed_while_the_inbox_is_away(inbox: FaultyInbox) -> None:
    stage = short_lease(inbox)
    ran: list[str] = []

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        ran.append("handler")

    inbox.will("complete", "unavailable", times=5)
    async with running(stage, TaskGroupRunner(2)):
        await stage.deliver()
        await until(lambda: not inbox.faults["complete"])
        await stage.finished(1)
    assert inbox.calls.count("complete") == 6
    assert ran == ["handler"]


async def test_it_is_said_once_that_the_inbox_is_away_and_once_that_it_is_back(
    inbox: FaultyInbox, caplog: pytest.LogCaptureFixture
) -> None:
    stage = short_lease(inbox)

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None: ...

    inbox.will("claim", "unavailable", times=10)
    async with running(stage, TaskGroupRunner(2)):
        await stage.deliver()
        await stage.finished(1)
    assert [record.getMessage() for record in caplog.records] == [
        "The inbox cannot be reached, trying again: the disk is full",
        "The inbox is reachable again.",
    ]


async def test_leases_are_renewed_while_a_handler_runs(inbox: FaultyInbox, clock: Clock) -> None:
    stage = short_lease(inbox)
    release = anyio.Event()
    attempts: list[int] = []

    @stage.handlers.on(TOPIC)
    async def slow(notification: Notification) -> None:
        attempts.append(1)
        await release.wait()

    async with running(stage, TaskGroupRunner(2)):
        await stage.deliver()
        for _ in range(10):  # nine leases long
            await inbox.until("renew")
            clock.now += 0.9 * SHORT
            assert await inbox.inbox.claim(1, lease=LEASE) == []
        release.set()
        await stage.finished(1)
    assert attempts == [1]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_run_that_was_overtaken_is_stopped_and_cannot_complete(
    plain: bool, inbox: FaultyInbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    stage = short_lease(inbox)
    begun, release, cancelled = anyio.Event(), anyio.Event(), anyio.Event()
    ran: list[str] = []

    async def waits() -> None:
        begun.set()
        try:
            await release.wait()
        except anyio.get_cancelled_exc_class():
            cancelled.set()
            raise

    async def first(notification: Notification) -> None:
        await waits()

    def first_plain(notification: Notification) -> None:
        anyio.from_thread.run(waits)

    @stage.handlers.on_error
    async def hook(notification: Notification) -> None:
        ran.append("hook")

    stage.handlers.on(TOPIC, handler=first_plain if plain else first, name="first")

    @stage.handlers.on(TOPIC)
    async def second(notification: Notification) -> None:
        ran.append("second")

    async with running(stage, TaskGroupRunner(2)):
        await stage.deliver()
        await begun.wait()
        clock.now += LEASE
        (other,) = await inbox.inbox.claim(1, lease=3600)
        if plain:
            await inbox.until("renew")
            release.set()  # a thread is waited for, and what it did no longer counts
        else:
            await cancelled.wait()
        await until(lambda: "was lost" in caplog.text)
        assert ran == []
        await inbox.complete(other)
    assert (await inbox.stats()).done == 1


async def test_a_run_that_was_overtaken_while_it_could_not_report_gives_up(
    inbox: FaultyInbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    stage = short_lease(inbox)

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None: ...

    inbox.will("complete", "unavailable", times=10_000)
    async with running(stage, TaskGroupRunner(1)):
        await stage.deliver()
        await inbox.until("complete")
        clock.now += LEASE
        (other,) = await inbox.inbox.claim(1, lease=3600)
        await until(lambda: "was lost" in caplog.text)
        inbox.faults.clear()
        await inbox.complete(other)


async def test_a_run_that_is_overdue_may_still_report_where_nobody_has_taken_over() -> None:
    stage = Stage()

    @stage.handlers.on(TOPIC)
    async def slow(notification: Notification) -> None:
        stage.clock.now += 10 * LEASE

    await stage.deliver()
    assert await stage.work() == 1
    assert (await stage.inbox.stats()).done == 1


async def test_what_could_not_be_released_is_run_when_its_lease_ends(
    inbox: FaultyInbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(inbox=inbox)
    await stage.deliver()
    (run,) = await stage.processor.claim(1)
    inbox.will("release", "unavailable")
    await stage.processor.release(run)
    assert "could not be recorded (the disk is full)" in caplog.text
    clock.now += LEASE
    assert len(await inbox.claim(1, lease=LEASE)) == 1
