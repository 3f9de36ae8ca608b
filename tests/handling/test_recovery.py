"""A process that dies in the middle: who was to blame, and that attempts end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlette_intercom import Failure, Notification, Reject
from tests.handling.kit import LEASE, TOPIC, Stage

OK, FAILS, REFUSES, KILLS = "ok", "fails", "refuses", "kills"
NEVER_ENDS: Final = 200


class Killed(KeyboardInterrupt):
    """Stands for a SIGKILL: the only exception that leaves everything where it was."""


@dataclass
class Actor:
    """A handler with a script: what happens in each of its runs, and then for ever."""

    name: str
    attempts: int
    script: list[str]
    ran: int = 0
    outcomes: list[str] = field(default_factory=list)

    async def __call__(self, notification: Notification) -> None:
        what = self.script[min(self.ran, len(self.script) - 1)]
        self.ran += 1
        self.outcomes.append(what)
        if what == KILLS:
            raise Killed
        if what == FAILS:
            raise ValueError
        if what == REFUSES:
            raise Reject("no")

    def expected(self) -> list[str]:
        """What its runs are, if nobody else's crash is taken for its own."""
        runs: list[str] = []
        while len(runs) < self.attempts:
            runs.append(self.script[min(len(runs), len(self.script) - 1)])
            if runs[-1] in (OK, REFUSES):
                break
        return runs


scripts = st.lists(st.sampled_from([OK, FAILS, REFUSES, KILLS]), min_size=1, max_size=4)
casts = st.lists(st.tuples(st.integers(1, 4), scripts), min_size=1, max_size=4)


async def play(stage: Stage, actors: list[Actor]) -> None:
    for actor in actors:
        stage.handlers.on(TOPIC, handler=actor, name=actor.name, retries=actor.attempts - 1)
    await stage.deliver()
    for _ in range(NEVER_ENDS):
        try:
            await stage.work()
        except Killed:
            stage.restart()
        stats = await stage.inbox.stats()
        if not stats.waiting + stats.running + stats.scheduled:
            return
        stage.clock.now += 7200
    raise AssertionError("the delivery never ends")


@given(cast=casts)
def test_every_crash_is_put_down_to_the_handler_that_was_running(cast: list[tuple[int, list[str]]]) -> None:
    actors = [Actor(f"actor {number}", attempts, script) for number, (attempts, script) in enumerate(cast)]

    async def check() -> None:
        stage = Stage()
        await play(stage, actors)
        for actor in actors:
            assert actor.outcomes == actor.expected()
        failed = [actor for actor in actors if actor.outcomes[-1] != OK]
        stats = await stage.inbox.stats()
        assert (stats.dead, stats.done) == (int(bool(failed)), int(not failed))
        if failed:
            letter = await stage.dead()
            assert letter.handlers == tuple(actor.name for actor in failed)
            assert letter.done == {actor.name for actor in actors} - set(letter.handlers)
            blamed = Counter(failure.handler for failure in letter.failures if failure.error == "ProcessDied")
            assert blamed == Counter({actor.name: actor.outcomes.count(KILLS) for actor in actors}) + Counter()

    anyio.run(check)


@pytest.mark.anyio
async def test_a_handler_that_always_kills_is_buried_and_the_others_are_run() -> None:
    stage = Stage()
    before, killer, after = Actor("before", 5, [OK]), Actor("killer", 5, [KILLS]), Actor("after", 5, [OK])
    await play(stage, [before, killer, after])
    assert (before.ran, killer.ran, after.ran) == (1, 5, 1)
    letter = await stage.dead()
    assert letter.handlers == ("killer",)
    assert letter.error is not None
    assert letter.error.error == "ProcessDied"


@pytest.mark.anyio
async def test_hooks_hear_of_every_crash_without_an_exception() -> None:
    stage = Stage()
    heard: list[tuple[int, str, BaseException | None]] = []

    @stage.handlers.on_error
    async def hook(failure: Failure, error: BaseException | None) -> None:
        heard.append((failure.attempt, failure.error, error))

    await play(stage, [Actor("killer", 5, [KILLS])])
    assert heard == [(attempt, "ProcessDied", None) for attempt in range(1, 6)]


@pytest.mark.anyio
async def test_a_process_that_dies_again_before_it_knows_whom_to_blame_still_ends() -> None:
    """Killed between claim and handler, time and again: the attempts end all the same."""
    stage = Stage()
    actor = Actor("innocent", 3, [OK])
    stage.handlers.on(TOPIC, handler=actor, name=actor.name, retries=2)
    await stage.deliver()
    for _ in range(2):
        assert len(await stage.processor.claim(1)) == 1
        stage.restart()
        stage.clock.now += LEASE + 1
    await stage.work_off()
    assert actor.ran == 1
    assert (await stage.inbox.stats()).done == 1


@pytest.mark.anyio
async def test_a_cut_off_run_does_not_count_as_an_attempt() -> None:
    stage = Stage()
    ran: list[int] = []

    async def slow(notification: Notification) -> None:
        ran.append(1)
        if len(ran) < 4:
            await anyio.sleep_forever()

    stage.handlers.on(TOPIC, handler=slow, retries=0)
    await stage.deliver()
    for times in range(1, 4):
        (run,) = await stage.processor.claim(1)
        assert run.claim.delivery.attempt == 1
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stage.processor.process, run)
                await anyio.wait_all_tasks_blocked()
                assert len(ran) == times
                scope.cancel()
        assert (await stage.inbox.stats()).waiting == 1
    await stage.work_off()
    assert (await stage.inbox.stats()).done == 1


@pytest.mark.anyio
async def test_a_run_that_is_cut_off_after_a_failure_waits_as_the_failed_handler_asked() -> None:
    """And a later crash in its attempt is not put down to the wrong handler."""
    stage = Stage(chance=lambda: 1.0)
    first = Actor("first", 3, [FAILS, KILLS, OK])
    cut = anyio.Event()

    async def slow(notification: Notification) -> None:
        if not cut.is_set():
            await anyio.sleep_forever()

    stage.handlers.on(TOPIC, handler=first, name="first", retries=2)
    stage.handlers.on(TOPIC, handler=slow, name="slow", retries=0)
    await stage.deliver()
    (run,) = await stage.processor.claim(1)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.processor.process, run)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    cut.set()
    assert await stage.work() == 0  # the first handler's second attempt is not due yet
    stage.clock.now += 1
    with pytest.raises(Killed):
        await stage.work()
    stage.restart()
    stage.clock.now += LEASE + 1
    await stage.work_off()
    assert first.outcomes == [FAILS, KILLS, OK]
    assert (await stage.inbox.stats()).done == 1


@pytest.mark.anyio
async def test_a_crash_without_a_handler_is_put_down_to_nobody() -> None:
    stage = Stage()
    await stage.deliver()
    assert len(await stage.processor.claim(1)) == 1
    stage.restart()
    stage.clock.now += LEASE
    await stage.work_off()
    assert [failure.error for failure in (await stage.dead()).failures] == ["NoHandler"] * 5


@pytest.mark.anyio
async def test_a_run_whose_lease_is_lost_between_two_handlers_goes_no_further() -> None:
    stage = Stage()
    first, second = Actor("first", 5, [FAILS]), Actor("second", 5, [OK])
    for actor in (first, second):
        stage.handlers.on(TOPIC, handler=actor, name=actor.name)
    await stage.deliver()
    (run,) = await stage.processor.claim(1)
    stage.handlers.on_error(lambda notification: run.lose())
    await stage.processor.process(run)
    assert (first.ran, second.ran) == (1, 0)
    assert (await stage.inbox.stats()).running == 1


@pytest.mark.anyio
async def test_who_ran_beside_a_handler_that_kills_is_not_buried_with_it() -> None:
    """All are claimed in one batch, and the one that kills its process comes first, each time."""
    stage = Stage()
    ran: list[str] = []

    async def handler(notification: Notification) -> None:
        if notification.item["state"] == "deadly":
            raise Killed
        ran.append(notification.item["state"])

    stage.handlers.on(TOPIC, handler=handler, retries=2)
    for state in ("deadly", *map(str, range(20))):
        await stage.deliver(**{"item.state": state})
    for _ in range(NEVER_ENDS):
        try:
            await stage.work()
        except Killed:
            stage.restart()
        stage.clock.now += LEASE
    assert (await stage.dead()).notification.item["state"] == "deadly"
    assert sorted(ran, key=int) == [str(number) for number in range(20)]
