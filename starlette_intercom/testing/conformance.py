"""The suite that every inbox passes.

Subclass it in a test module of your own::

    from starlette_intercom.testing.conformance import InboxConformance

    class TestMyInbox(InboxConformance):
        def make_inbox(self, clock, *, max_unfinished=1000):
            return MyInbox(clock=clock, max_unfinished=max_unfinished)

It needs pytest and Hypothesis, and runs on each backend of your ``anyio_backend`` fixture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from ..errors import InboxFull, LeaseLost
from ..inbox.contract import Claim, Failure, Inbox
from .clock import Clock
from .conformance_machine import InboxMachine
from .conformance_model import notification_for

_NOTHING: frozenset[str] = frozenset()
_LEASE = 30.0


class InboxConformance(ABC):
    """What an inbox must do, as tests.

    Attributes:
        examples: how many random histories the state machine tries.
        steps: how long each of them is at the most.
        retention: seconds for which the inboxes that :meth:`make_inbox` makes know completed deliveries.
    """

    examples = 60
    steps = 50
    retention = 7 * 24 * 3600.0

    @abstractmethod
    def make_inbox(self, clock: Clock, *, max_unfinished: int = 1000) -> Inbox:
        """Return an inbox that is not open yet, on an empty store, which tells the time by ``clock``."""

    async def restart(self, inbox: Inbox, clock: Clock) -> Inbox:
        """Stop an inbox and return one on the same store, open. Durable ones should make a new object here."""
        await inbox.close()
        await inbox.open()
        return inbox

    async def advance(self, inbox: Inbox, clock: Clock, seconds: float) -> None:
        """Let time pass. For an inbox whose server has the clock, tell the server here."""
        clock.advance(seconds)

    @asynccontextmanager
    async def opened(self, *, max_unfinished: int = 1000) -> AsyncIterator[tuple[Inbox, Clock]]:
        """Have an open inbox with its clock."""
        clock = Clock()
        inbox = self.make_inbox(clock, max_unfinished=max_unfinished)
        await inbox.open()
        try:
            yield inbox, clock
        finally:
            await inbox.close()

    def test_any_history(self, anyio_backend: str) -> None:
        """Random histories leave the inbox as they leave a simple model."""

        class Machine(InboxMachine):
            store = self
            backend = anyio_backend

        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=self.examples,
                stateful_step_count=self.steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )

    @pytest.mark.anyio
    async def test_copies_that_come_at_once_are_accepted_once(self) -> None:
        """Of many copies at the same time exactly one is new."""
        async with self.opened() as (inbox, _):
            new: list[bool] = []

            async def deliver() -> None:
                new.append(await inbox.accept(notification_for("a"), key="a"))

            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(deliver)
            assert sorted(new) == [False] * 19 + [True]
            assert len(await inbox.claim(50, lease=_LEASE)) == 1

    @pytest.mark.anyio
    async def test_claims_at_once_share_nothing(self) -> None:
        """Every delivery goes to one of those who claim at the same time."""
        async with self.opened() as (inbox, _):
            for number in range(40):
                await inbox.accept(notification_for(str(number)), key=str(number))
            claims: list[Claim] = []

            async def take() -> None:
                claims.extend(await inbox.claim(7, lease=_LEASE))

            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(take)
            assert sorted(claim.delivery.id for claim in claims) == sorted(map(str, range(40)))
            assert len({claim.delivery.fencing for claim in claims}) == 40

    @pytest.mark.anyio
    async def test_what_is_claimed_is_what_was_accepted(self) -> None:
        """A claim carries the exact bytes, and says what was written down about the runs before."""
        async with self.opened() as (inbox, clock):
            sent = notification_for("a", created_at=1_700_000_123)
            await inbox.accept(sent, key="a", trace="00-trace-01")
            (claim,) = await inbox.claim(1, lease=_LEASE)
            assert (claim.notification.raw, claim.trace) == (sent.raw, "00-trace-01")
            assert claim.delivery.first_seen == clock()
            assert (claim.delivery.topic, claim.delivery.attempt, claim.recovered) == (sent.topic, 1, False)
            failure = Failure(handler="h", attempt=1, at=clock(), error="E", message="why \u2028 \x00", traceback="tb")
            await inbox.retry(claim, after=5, done=frozenset({"x", "y"}), failures=(failure,))
            assert not await inbox.claim(1, lease=_LEASE)
            await self.advance(inbox, clock, 5)
            (again,) = await inbox.claim(1, lease=_LEASE)
            assert (again.failures, again.delivery.attempt, again.trace) == ((failure,), 2, claim.trace)
            assert again.done == {"x", "y"}
            assert again.delivery.first_seen == claim.delivery.first_seen

    @pytest.mark.anyio
    async def test_a_trace_outlives_everything_but_completion(self) -> None:
        """Whoever runs a delivery knows where it came from: after a restart, and after a replay."""
        async with self.opened() as (inbox, clock):
            for key, trace in (("a", "00-a-01"), ("b", None)):
                assert await inbox.accept(notification_for(key), key=key, trace=trace)
                assert not await inbox.accept(notification_for(key), key=key, trace="of a copy")
            claims = await inbox.claim(2, lease=_LEASE)
            for claim in claims:
                await inbox.bury(claim, handlers=("x",), done=_NOTHING, failures=())
            inbox = await self.restart(inbox, clock)
            try:
                await inbox.replay()
                again = await inbox.claim(2, lease=_LEASE)
                assert {claim.delivery.id: claim.trace for claim in again} == {"a": "00-a-01", "b": None}
            finally:
                await inbox.close()

    @pytest.mark.anyio
    async def test_a_full_inbox_refuses_what_is_new_and_knows_its_copies(self) -> None:
        """The bound holds back what is new, never a copy, and gives way when something is done."""
        async with self.opened(max_unfinished=2) as (inbox, _):
            assert await inbox.accept(notification_for("a"), key="a")
            assert await inbox.accept(notification_for("b"), key="b")
            assert not await inbox.accept(notification_for("a"), key="a")
            with pytest.raises(InboxFull):
                await inbox.accept(notification_for("c"), key="c")
            (claim,) = await inbox.claim(1, lease=_LEASE)
            await inbox.complete(claim)
            assert await inbox.accept(notification_for("c"), key="c")

    @pytest.mark.anyio
    async def test_a_completed_key_is_known_for_the_retention_time(self) -> None:
        """It is forgotten afterwards, when the inbox is tidied."""
        async with self.opened() as (inbox, clock):
            await inbox.accept(notification_for("a"), key="a")
            (claim,) = await inbox.claim(1, lease=_LEASE)
            await inbox.complete(claim)
            await self.advance(inbox, clock, self.retention - 1)
            await inbox.tidy()
            assert not await inbox.accept(notification_for("a"), key="a")
            await self.advance(inbox, clock, 2)
            await inbox.tidy()
            assert await inbox.accept(notification_for("a"), key="a")

    @pytest.mark.anyio
    async def test_only_the_current_lease_can_change_a_delivery(self) -> None:
        """A run that was overtaken can do nothing more."""
        async with self.opened() as (inbox, clock):
            await inbox.accept(notification_for("a"), key="a")
            (old,) = await inbox.claim(1, lease=_LEASE)
            await self.advance(inbox, clock, _LEASE + 1)
            (new,) = await inbox.claim(1, lease=_LEASE)
            assert new.recovered
            assert new.delivery.fencing > old.delivery.fencing
            for change in (
                inbox.complete(old),
                inbox.mark(old, done=_NOTHING, failures=()),
                inbox.retry(old, after=1, done=_NOTHING, failures=()),
                inbox.release(old, done=_NOTHING, failures=()),
                inbox.bury(old, handlers=("h",), done=_NOTHING, failures=()),
            ):
                with pytest.raises(LeaseLost):
                    await change
            assert list(await inbox.renew([old, new], lease=_LEASE)) == [old]
            await inbox.complete(new)
            with pytest.raises(LeaseLost):
                await inbox.complete(new)

    @pytest.mark.anyio
    async def test_dead_letters_are_found_by_topic_and_handler(self) -> None:
        """Filters choose what is listed, replayed and purged; the latest comes first."""
        async with self.opened() as (inbox, clock):
            for key, topic, handlers in (("1", "a", ("x",)), ("2", "b", ("x", "y")), ("3", "b", ("y",))):
                await inbox.accept(notification_for(key, topic=topic), key=key)
                (claim,) = await inbox.claim(1, lease=_LEASE)
                await inbox.bury(claim, handlers=handlers, done=_NOTHING, failures=())
                await self.advance(inbox, clock, 10)

            async def listed(topic: str | None = None, handler: str | None = None, limit: int = 100) -> list[str]:
                return [dead.id for dead in await inbox.list_dead(topic=topic, handler=handler, limit=limit)]

            assert await listed() == ["3", "2", "1"]
            assert await listed(limit=2) == ["3", "2"]
            assert await listed(topic="b") == ["3", "2"]
            assert await listed(handler="x") == ["2", "1"]
            assert await listed(topic="b", handler="x") == ["2"]
            letter = await inbox.get_dead("2")
            assert letter is not None
            assert letter.handlers == ("x", "y")
            assert await inbox.get_dead("9") is None
            assert await inbox.purge(topic="b", handler="x") == 1
            assert await inbox.purge(older_than=25) == 1
            assert await inbox.replay(handler="x") == 0
            assert await inbox.replay(id="3") == 1
            assert await listed() == []
            assert [claim.delivery.id for claim in await inbox.claim(9, lease=_LEASE)] == ["3"]

    @pytest.mark.anyio
    async def test_a_contact_is_forgotten_in_every_state(self) -> None:
        """No payload that mentions it is left, its copies bring none back, and other deliveries are as they were."""
        async with self.opened() as (inbox, _):
            for key in ("running", "scheduled", "dead", "done", "waiting"):
                await inbox.accept(notification_for("5f1e"), key=key)
                if key == "waiting":
                    break
                (claim,) = await inbox.claim(1, lease=_LEASE)
                if key == "scheduled":
                    await inbox.retry(claim, after=5, done=_NOTHING, failures=())
                elif key == "dead":
                    await inbox.bury(claim, handlers=("h",), done=_NOTHING, failures=())
                elif key == "done":
                    await inbox.complete(claim)
                else:
                    running = claim
            await inbox.accept(notification_for("other"), key="other")
            assert await inbox.forget("nobody") == 0
            assert await inbox.forget("5f1e") == 4
            assert await inbox.forget("5f1e") == 0
            with pytest.raises(LeaseLost):
                await inbox.complete(running)
            stats = await inbox.stats()
            assert (stats.waiting, stats.running, stats.scheduled, stats.dead, stats.done) == (1, 0, 0, 0, 5)
            for key in ("running", "scheduled", "dead", "done", "waiting"):
                assert not await inbox.accept(notification_for("5f1e"), key=key)
            assert [claim.delivery.id for claim in await inbox.claim(9, lease=_LEASE)] == ["other"]

    @pytest.mark.anyio
    async def test_wait_returns_when_something_becomes_ready(self) -> None:
        """Nobody waits for long beside something that can be claimed."""
        async with self.opened() as (inbox, _):
            assert not await inbox.claim(1, lease=_LEASE)
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(inbox.wait, 60.0)
                    await anyio.lowlevel.checkpoint()
                    await inbox.accept(notification_for("a"), key="a")
            (claim,) = await inbox.claim(1, lease=_LEASE)
            assert not await inbox.claim(1, lease=_LEASE)
            await inbox.release(claim, done=_NOTHING, failures=())
            with anyio.fail_after(20):
                await inbox.wait(60)
            assert await inbox.claim(1, lease=_LEASE)

    @pytest.mark.anyio
    async def test_wait_loses_no_wake_up(self) -> None:
        """What becomes ready between a claim and the wait is not slept over, and a full claim may have left some."""
        async with self.opened() as (inbox, _):
            assert not await inbox.claim(1, lease=_LEASE)
            for key in "ab":
                await inbox.accept(notification_for(key), key=key)
            with anyio.fail_after(20):
                await inbox.wait(60)
                assert await inbox.claim(1, lease=_LEASE)
                await inbox.wait(60)
            assert await inbox.claim(1, lease=_LEASE)

    @pytest.mark.anyio
    async def test_wait_loses_no_wake_up_for_who_dispatches(self) -> None:
        """The same for who names deliveries instead of claiming them."""
        async with self.opened() as (inbox, _):
            assert not await inbox.dispatch(1, again_after=60)
            for key in "ab":
                await inbox.accept(notification_for(key), key=key)
            named: list[str] = []
            with anyio.fail_after(20):
                for _ in range(2):
                    await inbox.wait(60)
                    named += await inbox.dispatch(1, again_after=60)
            assert sorted(named) == ["a", "b"]
            assert not await inbox.dispatch(1, again_after=60)

    @pytest.mark.anyio
    async def test_a_key_may_be_any_text(self) -> None:
        """Keys are data, also where they look like something else."""
        async with self.opened() as (inbox, _):
            keys = ["", "'; DROP TABLE delivery; --", "ä\u2028\x00\U0001f600", "*", "x" * 1000]
            for key in keys:
                assert await inbox.accept(notification_for("a"), key=key, group=key)
                assert not await inbox.accept(notification_for("a"), key=key, group=key)
            claims = await inbox.claim(9, lease=_LEASE)
            assert sorted(claim.delivery.id for claim in claims) == sorted(keys)
            for claim in claims:
                await inbox.complete(claim)
