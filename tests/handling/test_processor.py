"""A delivery on its way through its handlers: who is run, how often, and what is recorded."""

from __future__ import annotations

import logging

import msgspec
import pytest

from starlette_intercom import Backoff, Delivery, Failure, Notification, Reject, Retry
from tests.handling.kit import TOPIC, Group, Stage

pytestmark = pytest.mark.anyio


class Contact(msgspec.Struct):
    id: str
    age: int


@pytest.fixture
async def stage() -> Stage:  # asynchronous, since a processor belongs to an event loop
    return Stage()


@pytest.fixture
async def group(stage: Stage) -> Group:
    return Group(stage)


async def test_a_retry_runs_only_what_has_not_succeeded(group: Group) -> None:
    stage = group.stage
    group.add("first")
    group.add("second", ValueError(), ValueError())
    group.add("third")
    await stage.deliver()
    await stage.work_off()
    assert group.ran == ["first", "second", "third", "second", "second"]
    assert (await stage.inbox.stats()).done == 1


async def test_attempts_end_in_the_dead_letters(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    stage = group.stage
    group.add("good")
    group.add("bad", *[ValueError(str(number)) for number in range(9)], retries=2)
    delivered = await stage.deliver()
    await stage.work_off()
    assert group.ran == ["good", "bad", "bad", "bad"]
    letter = await stage.dead()
    assert (letter.handlers, letter.done, letter.attempts) == (("bad",), frozenset({"good"}), 3)
    assert [(failure.attempt, failure.message) for failure in letter.failures] == [(1, "0"), (2, "1"), (3, "2")]
    assert letter.error is not None
    assert letter.error.error == "ValueError"
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    for part in (delivered, TOPIC, "bad", "ValueError: 2", f"replay({delivered!r})"):
        assert part in line.getMessage()


async def test_a_replay_starts_afresh_and_runs_only_what_has_not_succeeded(group: Group) -> None:
    stage = group.stage
    group.add("good")
    group.add("bad", ValueError(), ValueError(), retries=0)
    delivered = await stage.deliver()
    await stage.work_off()
    assert await stage.inbox.replay(id=delivered) == 1
    await stage.work_off()
    assert await stage.inbox.replay(id=delivered) == 1
    await stage.work_off()
    assert group.ran == ["good", "bad", "bad", "bad"]
    assert await stage.inbox.list_dead() == []


async def test_no_retries_means_one_attempt(group: Group) -> None:
    group.add("once", ValueError(), retries=0)
    await group.stage.deliver()
    await group.stage.work_off()
    assert group.ran == ["once"]


async def test_a_refusal_is_final_and_stops_nobody_else(group: Group) -> None:
    stage = group.stage
    group.add("refuses", Reject("not ours"))
    group.add("fails once", ValueError())
    await stage.deliver()
    await stage.work_off()
    assert group.ran == ["refuses", "fails once", "fails once"]
    letter = await stage.dead()
    assert letter.handlers == ("refuses",)
    assert letter.failures[0].message == "not ours"


async def test_asking_for_later_decides_when(group: Group) -> None:
    stage = group.stage
    group.add("later", Retry(600))
    await stage.deliver()
    await stage.work()
    stage.clock.now += 599
    assert await stage.work() == 0
    stage.clock.now += 1
    assert await stage.work() == 1
    assert group.ran == ["later", "later"]


async def test_asking_for_later_counts_as_an_attempt(group: Group) -> None:
    group.add("later", *[Retry(1) for _ in range(9)], retries=2)
    await group.stage.deliver()
    await group.stage.work_off()
    assert group.ran == ["later"] * 3
    assert (await group.stage.dead()).failures[-1].message == "Retry after 1 s"


async def test_unknown_errors_wait_by_the_handlers_schedule() -> None:
    stage = Stage(chance=lambda: 1.0)
    group = Group(stage)
    group.add("bad", *[ValueError() for _ in range(3)], backoff=Backoff(base=10, factor=5, cap=100))
    await stage.deliver()
    await stage.work()
    for wait in (10, 50, 100):
        stage.clock.now += wait - 1
        assert await stage.work() == 0
        stage.clock.now += 1
        assert await stage.work() == 1
    assert (await stage.inbox.stats()).done == 1


async def test_asking_for_later_without_a_time_waits_by_the_schedule() -> None:
    stage = Stage(chance=lambda: 0.5)
    Group(stage).add("later", Retry(), backoff=Backoff(base=10))
    await stage.deliver()
    await stage.work()
    stage.clock.now += 5
    assert await stage.work() == 1


async def test_no_handler_is_run_sooner_than_it_asked_for(group: Group) -> None:
    stage = group.stage
    group.add("soon", Retry(1))
    group.add("late", Retry(100))
    await stage.deliver()
    await stage.work()
    stage.clock.now += 99
    assert await stage.work() == 0


async def test_a_handler_that_is_never_run_again_makes_nobody_wait() -> None:
    stage = Stage(chance=lambda: 1.0)
    group = Group(stage)
    group.add("refuses", Reject("no"), backoff=Backoff(base=3600))
    group.add("out of attempts", Retry(3600), retries=0)
    group.add("soon", Retry(1))
    await stage.deliver()
    await stage.work()
    stage.clock.now += 1
    assert await stage.work() == 1


async def test_attempts_are_counted_for_each_handler(group: Group) -> None:
    errors = [ValueError() for _ in range(9)]
    group.add("two", *errors, retries=1)
    group.add("four", *errors, retries=3)
    await group.stage.deliver()
    await group.stage.work_off()
    assert (group.ran.count("two"), group.ran.count("four")) == (2, 4)
    assert (await group.stage.dead()).handlers == ("two", "four")


async def test_a_payload_that_does_not_fit_names_the_field(stage: Stage) -> None:
    ran: list[Contact] = []

    @stage.handlers.on("contact.user.created", item=Contact)
    async def typed(notification: Notification[Contact]) -> None:
        ran.append(notification.item)

    await stage.deliver("contact.user.created", item={"id": "5", "age": "forty"})
    await stage.deliver("contact.user.created", item={"id": "5", "age": 40})
    await stage.work_off()
    letter = await stage.dead()
    assert letter.attempts == 1
    assert letter.error is not None
    assert (letter.error.error, letter.error.message) == (
        "InvalidNotification",
        "data.item.age: Expected `int`, got `str`",
    )
    assert ran == [Contact("5", 40)]


async def test_what_a_handler_does_to_the_item_reaches_nobody_else(stage: Stage) -> None:
    seen: list[object] = []

    async def spoils(notification: Notification) -> None:
        seen.append(notification.item["state"])
        notification.item["state"] = "spoilt"
        raise ValueError

    async def looks(notification: Notification) -> None:
        seen.append(notification.item["state"])

    @stage.handlers.on_error
    async def hook(notification: Notification) -> None:
        seen.append(notification.item["state"])

    stage.handlers.on(TOPIC, handler=spoils, retries=1)
    stage.handlers.on(TOPIC, handler=looks)
    await stage.deliver(**{"item.state": "open"})
    await stage.work_off()
    assert seen == ["open"] * 5
    assert (await stage.dead()).notification.item["state"] == "open"


async def test_a_delivery_whose_handlers_are_gone_is_kept(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await stage.deliver()
    await stage.work_off()
    letter = await stage.dead()
    assert (letter.handlers, letter.attempts) == ((), 5)
    assert [failure.error for failure in letter.failures] == ["NoHandler"] * 5
    lines = [record.getMessage() for record in caplog.records if "no handler in this process" in record.getMessage()]
    assert len(lines) == 5
    await stage.inbox.replay(id=letter.id)
    await stage.work_off()
    assert (await stage.dead()).attempts == 5  # a replay starts afresh


async def test_a_process_without_a_handler_waits_by_the_default_schedule() -> None:
    stage = Stage(chance=lambda: 0.5)
    await stage.deliver()
    for wait in (0.5, 2, 8, 32):
        assert await stage.work() == 1
        stage.clock.now += wait - 0.001
        assert await stage.work() == 0
        stage.clock.now += 0.001
    assert (await stage.inbox.stats()).dead == 0
    await stage.work()
    assert (await stage.inbox.stats()).dead == 1


async def test_attempts_of_a_process_without_a_handler_count_against_no_handler(group: Group) -> None:
    stage = group.stage
    group.add("slow", *[ValueError()] * 4)  # needs all of its five attempts
    with_handlers, without = stage.handlers, type(stage.handlers)()
    name = await stage.deliver()
    for count in range(1, 5):
        for stage.handlers in (without, with_handlers):
            stage.restart()
            assert await stage.work() == 1
            stage.clock.now += 64
        assert group.ran == ["slow"] * count
    assert await stage.work() == 1
    assert group.ran == ["slow"] * 5
    assert (await stage.inbox.stats()).done == 1
    assert await stage.inbox.get_dead(name) is None


async def test_a_delivery_is_done_when_what_is_left_of_its_handlers_is(group: Group) -> None:
    stage = group.stage
    group.add("good")
    group.add("bad", ValueError())
    await stage.deliver()
    await stage.work()
    stage.handlers = type(stage.handlers)()
    group.add("good")
    stage.restart()
    await stage.work_off()
    assert group.ran == ["good", "bad"]
    assert (await stage.inbox.stats()).done == 1


async def test_a_delivery_is_not_done_where_all_of_its_handlers_are_gone(group: Group) -> None:
    stage = group.stage
    group.add("good")
    group.add("bad", ValueError())
    await stage.deliver()
    await stage.work()
    stage.handlers = type(stage.handlers)()
    stage.restart()
    await stage.work_off()
    letter = await stage.dead()
    assert letter.done == {"good"}
    assert letter.handlers == ()


async def test_hooks_hear_of_every_failure(group: Group) -> None:
    stage = group.stage
    heard: list[tuple[str, int, str]] = []

    @stage.handlers.on_error
    async def hook(notification: Notification, error: Exception, failure: Failure, delivery: Delivery) -> None:
        assert notification.topic == TOPIC
        assert failure.error == type(error).__name__
        heard.append((failure.handler, delivery.attempt, failure.error))

    group.add("a", ValueError(), Reject("no"))
    group.add("b", KeyError())
    await stage.deliver()
    await stage.work_off()
    assert heard == [("a", 1, "ValueError"), ("b", 1, "KeyError"), ("a", 2, "Reject")]


async def test_an_error_cannot_forge_a_line_of_the_log(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    group.add("bad", ValueError("no\nERROR forged\x1b[31m"), retries=0)
    await group.stage.deliver()
    await group.stage.work_off()
    for record in caplog.records:
        assert "\n" not in record.getMessage()
        assert "\x1b" not in record.getMessage()
