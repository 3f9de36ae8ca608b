"""The kit that users test their handlers with."""

from __future__ import annotations

import random

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from starlette_intercom import (
    Delivery,
    EventsClient,
    HandlerRegistry,
    Intercom,
    IntercomMiddleware,
    Notification,
    Reject,
    Retry,
)
from starlette_intercom.testing import Clock, HandlersFailed, IntercomKit, RecordingInbox, deliver, sample

pytestmark = pytest.mark.anyio

TOPIC = "conversation.user.created"


@pytest.fixture
def handlers() -> HandlerRegistry:
    return HandlerRegistry()


async def test_a_notification_reaches_its_handlers_and_their_events_the_fake(handlers: HandlerRegistry) -> None:
    @handlers.on(TOPIC)
    async def answer(notification: Notification, events: EventsClient) -> None:
        await events.track("started-conversation", user_id=notification.item["id"])

    async with IntercomKit(handlers) as kit:
        answered = await kit.deliver(TOPIC, **{"item.id": "5"})
        assert (answered.status, answered.received, answered.duplicate) == (200, True, False)
        await kit.drain()
        assert [notification.item["id"] for notification in kit.inbox.handled] == ["5"]
        assert [(event["event_name"], event["user_id"]) for event in kit.events] == [("started-conversation", "5")]
        assert kit.inbox.duplicates == kit.inbox.dead == []


async def test_a_duplicate(handlers: HandlerRegistry) -> None:
    handlers.on(TOPIC, handler=lambda notification: None, name="nothing")
    async with IntercomKit(handlers) as kit:
        notification = sample(TOPIC)
        assert not (await kit.deliver(notification)).duplicate
        assert (await kit.deliver(notification)).duplicate
        await kit.drain()
    assert len(kit.inbox.accepted) == len(kit.inbox.handled) == len(kit.inbox.duplicates) == 1


async def test_the_handlers_of_an_intercom_are_taken_over(handlers: HandlerRegistry) -> None:
    mine = Intercom("another secret", inbox="sqlite:///never-opened.db")
    mine.include(handlers)
    seen: list[Intercom] = []

    @mine.on("ping")
    async def pong(notification: Notification, intercom: Intercom) -> None:
        seen.append(intercom)

    async with IntercomKit(mine) as kit:
        await kit.deliver("ping")
        await kit.drain()
        assert seen == [kit.intercom]


async def test_retries_run_at_once(handlers: HandlerRegistry) -> None:
    @handlers.on(TOPIC)
    async def third_time_lucky(notification: Notification, delivery: Delivery) -> None:
        if delivery.attempt < 3:
            raise Retry(after=3600)

    async with IntercomKit(handlers) as kit:
        await kit.deliver(TOPIC)
        await kit.drain()
    assert kit.inbox.retries == [3600, 3600]
    assert len(kit.inbox.handled) == 1


async def test_with_a_clock_retries_wait_for_it(handlers: HandlerRegistry) -> None:
    runs: list[int] = []

    @handlers.on(TOPIC)
    async def later(notification: Notification, delivery: Delivery) -> None:
        runs.append(delivery.attempt)
        if delivery.attempt == 1:
            raise Retry(after=60)

    clock = Clock()
    async with IntercomKit(handlers, clock=clock) as kit:
        await kit.deliver(TOPIC)
        await kit.drain()
        clock.advance(59)
        await kit.drain()
        assert (runs, (await kit.intercom.stats()).scheduled) == ([1], 1)
        clock.advance(1)
        await kit.drain()
        assert (runs, len(kit.inbox.handled)) == ([1, 2], 1)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


async def test_what_died_is_raised_once_with_its_reason(handlers: HandlerRegistry) -> None:
    @handlers.on(TOPIC, name="sync")
    async def sync(notification: Notification) -> None:
        raise Reject("no such customer")

    async with IntercomKit(handlers) as kit:
        await kit.deliver(TOPIC)
        with pytest.raises(HandlersFailed, match="sync: Reject: no such customer") as caught:
            await kit.drain()
        assert [letter.topic for letter in caught.value.letters] == [TOPIC]
        await kit.drain()
        await kit.deliver(TOPIC)
        await kit.drain(raise_errors=False)
        assert [letter.handlers for letter in kit.inbox.dead] == [("sync",), ("sync",)]


async def test_what_nobody_runs_fails_the_test_in_time(handlers: HandlerRegistry) -> None:
    @handlers.on(TOPIC)
    async def stuck(notification: Notification) -> None:
        raise Retry(after=0)

    inbox = RecordingInbox()
    intercom = Intercom("secret", inbox=inbox)
    intercom.include(handlers)
    async with intercom.lifespan(None):
        await deliver(intercom, sample(TOPIC), secret="secret")
        with pytest.raises(HandlersFailed):
            await inbox.drain()
    # It is not running any more, so nothing will ever be done.
    await inbox.replay()
    with pytest.raises(TimeoutError, match="1 deliveries"):
        await inbox.drain(0.05)


async def test_a_refused_connection_to_the_inbox_is_a_503_and_leaves_nothing(handlers: HandlerRegistry) -> None:
    handlers.on(TOPIC, handler=lambda notification: None, name="nothing")
    async with IntercomKit(handlers, read_timeout=0.05) as kit:
        kit.faults.inject("accept", "down", "hang")
        notification = sample(TOPIC)
        assert (await kit.deliver(notification)).status == 503
        assert (await kit.deliver(notification)).status == 503
        again = await kit.deliver(notification)
        assert (again.received, again.duplicate) == (True, False)
        kit.faults.down = True
        assert (await kit.deliver(TOPIC)).status == 503
        kit.faults.down = False
        await kit.drain()
        assert len(kit.inbox.handled) == 1


async def test_a_crash_after_the_commit_makes_the_retry_a_duplicate(handlers: HandlerRegistry) -> None:
    handlers.on(TOPIC, handler=lambda notification: None, name="nothing")
    async with IntercomKit(handlers) as kit:
        kit.faults.inject("accept", "lost")
        notification = sample(TOPIC)
        assert (await kit.deliver(notification)).status == 503
        assert (await kit.deliver(notification)).duplicate
        await kit.drain()
        assert len(kit.inbox.handled) == 1


async def test_a_crash_before_the_outcome_is_recorded_runs_the_handlers_again(handlers: HandlerRegistry) -> None:
    runs: list[str | None] = []

    @handlers.on(TOPIC)
    async def count(notification: Notification) -> None:
        runs.append(notification.id)

    async with IntercomKit(handlers) as kit:
        kit.faults.run_again(1)
        await kit.deliver(TOPIC)
        await kit.drain()
        assert (len(runs), len(set(runs)), len(kit.inbox.handled)) == (2, 1, 1)


async def test_deliveries_out_of_order(handlers: HandlerRegistry) -> None:
    runs: list[str | None] = []

    @handlers.on(TOPIC)
    async def note(notification: Notification) -> None:
        runs.append(notification.id)

    kit = IntercomKit(handlers)
    kit.faults.reorder = random.Random(1)
    kit.faults.inject("claim", "down")  # so that all of them are claimed at once
    async with kit:
        ids = [f"notif_{number}" for number in range(20)]
        for name in ids:
            await kit.deliver(TOPIC, id=name)
        await kit.drain()
    assert sorted(map(str, runs)) == sorted(ids)
    assert runs != ids


async def test_delivering_to_an_app_and_to_an_intercom() -> None:
    inbox = RecordingInbox()
    intercom = Intercom("secret", inbox=inbox)
    intercom.on("ping", handler=lambda notification: None, name="pong")
    app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/in")])
    assert (await deliver(intercom, sample("ping"), secret="secret")).status == 503
    async with intercom.lifespan(app):
        assert (await deliver(app, sample("ping"), secret="secret", path="/in")).received
        wrong = await deliver(app, sample("ping"), secret="other", path="/in")
        assert (wrong.status, wrong.content, wrong.received) == (401, {"error": "Invalid signature"}, False)
        elsewhere = await deliver(app, sample("ping"), secret="secret")
        assert (elsewhere.status, elsewhere.content) == (404, None)
        await inbox.drain()
    assert len(inbox.handled) == 1
