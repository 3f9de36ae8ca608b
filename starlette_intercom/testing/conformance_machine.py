"""Random histories of an inbox beside the model: the state machine of the conformance suite."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ..errors import LeaseLost
from ..inbox.contract import Claim, Failure, Inbox
from ..notification import VerifiedNotification
from .clock import Clock
from .conformance_model import Model, Record, notification_for

ResultT = TypeVar("ResultT")

_KEYS = st.sampled_from("abcdefgh")
_GROUPS = st.sampled_from([None, None, "g", "h"])
_NAMES = st.frozensets(st.sampled_from(["x", "y", "z"]))
_TOPICS = st.sampled_from(["contact.created", "contact.deleted"])
_TRACES = st.sampled_from([None, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
_LEASES = st.sampled_from([5.5, 30.5])
_NAMED_AGAIN = 20.25


class Store(Protocol):
    """What the machine needs of a suite."""

    retention: float

    def make_inbox(self, clock: Clock, *, max_unfinished: int = 1000) -> Inbox:
        """Return a new inbox on an empty store."""
        ...

    async def restart(self, inbox: Inbox, clock: Clock) -> Inbox:
        """Return an open inbox on the same store."""
        ...

    async def advance(self, inbox: Inbox, clock: Clock, seconds: float) -> None:
        """Let time pass."""
        ...


class InboxMachine(RuleBasedStateMachine):
    """Deliver, claim, finish in every way, let leases run out, restart; and compare after each step.

    A crash is a claim that nobody reports about: its lease runs out, or the inbox is restarted.

    Attributes:
        store: where the inboxes come from.
        backend: the event loop.
    """

    store: Store
    backend: str

    def __init__(self) -> None:
        super().__init__()
        self._portal_context = start_blocking_portal(self.backend)
        self._portal = self._portal_context.__enter__()
        self.clock = Clock()
        self.inbox = self.store.make_inbox(self.clock)
        self.model = Model()
        self.claims: list[Claim] = []
        self.run(self.inbox.open)

    def run(self, function: Callable[..., Awaitable[ResultT]], *args: Any, **named: Any) -> ResultT:
        """Call an asynchronous function on the event loop."""

        async def call() -> ResultT:
            return await function(*args, **named)

        return self._portal.call(call)

    def teardown(self) -> None:
        """Close the inbox and end the event loop."""
        self.run(self.inbox.close)
        self._portal_context.__exit__(None, None, None)

    def finish(self, index: int, method: Callable[..., Awaitable[None]], **named: Any) -> Record | None:
        """Report about a claim, current or not, and return the record where it is the current one."""
        claim = self.claims[index % len(self.claims)]
        record = self.model.current(claim)
        try:
            self.run(method, claim, **named)
        except LeaseLost:
            assert record is None, f"the claim of {claim.delivery.id} is the current one"
            return None
        assert record is not None, f"the claim of {claim.delivery.id} is not the current one"
        record.done = named.get("done", record.done)
        record.failures = named.get("failures", record.failures)
        return record

    def failure(self, number: int) -> tuple[Failure, ...]:
        """Return something that may have gone wrong."""
        return tuple(
            Failure(handler="x", attempt=one, at=self.clock(), error="ValueError", message="no")
            for one in range(number)
        )

    @rule(key=_KEYS, group=_GROUPS, created_at=st.integers(0, 5), topic=_TOPICS, trace=_TRACES)
    def accept(self, key: str, group: str | None, created_at: int, topic: str, trace: str | None) -> None:
        """Deliver a notification, perhaps a copy."""
        notification = notification_for(key, topic=topic, created_at=created_at)
        new = self.run(self.inbox.accept, notification, key=key, group=group, trace=trace)
        self.accepted(notification, key, group, trace, new)

    def accepted(
        self, notification: VerifiedNotification, key: str, group: str | None, trace: str | None, new: bool
    ) -> None:
        """Compare whether it was new, and note it."""
        known = self.model.records.get(key)
        if known is not None and known.state == "done" and known.at + self.store.retention <= self.clock():
            if not new:
                return  # due to be forgotten, and not yet tidied away
        else:
            assert new == (known is None)
        if new:
            self.model.accept(key, notification.raw, notification.created_at, group, trace, self.clock())

    @rule(limit=st.integers(1, 4), lease=_LEASES, ids=st.none() | st.lists(_KEYS, min_size=1, max_size=4, unique=True))
    def claim(self, limit: int, lease: float, ids: list[str] | None) -> None:
        """Claim, which may recover what crashed."""
        self.claimed(self.run(self.inbox.claim, limit, lease=lease, ids=ids), limit, lease, ids)

    @rule(key=_KEYS, group=_GROUPS, created_at=st.integers(0, 5), limit=st.integers(1, 4), lease=_LEASES)
    def claim_next(self, key: str, group: str | None, created_at: int, limit: int, lease: float) -> None:
        """Have somebody wait for what is delivered, and cut that off: no claim is lost."""
        notification = notification_for(key, created_at=created_at)
        claims: list[Claim] = []

        async def wait() -> None:
            claims.extend(await self.inbox.claim_next(limit, lease=lease, timeout=60.0))

        async def deliver() -> bool:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                new = await self.inbox.accept(notification, key=key, group=group)
                tasks.cancel_scope.cancel()
            return new

        new = self.run(deliver)
        # What was ready before may have been claimed before it came, which counts among those of a group.
        came = [claim for claim in claims if new and claim.delivery.id == key]
        before = [claim for claim in claims if claim not in came]
        if before:
            self.claimed(before, limit, lease, None)
        self.accepted(notification, key, group, None, new)
        if came:
            self.claimed(came, limit - len(before), lease, None)

    def claimed(self, claims: Sequence[Claim], limit: int, lease: float, ids: list[str] | None) -> None:
        """Compare what was claimed, and note it."""
        now = self.clock()
        for claim in claims:
            self.model.end_leases_of_group(self.model.records[claim.delivery.id], now)
        self.model.check_claim(claims, limit, ids, now)
        for claim in claims:
            self.model.records[claim.delivery.id].at = now + lease
        self.claims.extend(claims)

    @precondition(lambda self: self.claims)
    @rule(index=st.integers(0), number=st.integers(0, 2), done=_NAMES)
    def mark(self, index: int, number: int, done: frozenset[str]) -> None:
        """Note how far a run came."""
        self.finish(index, self.inbox.mark, done=done, failures=self.failure(number))

    @precondition(lambda self: self.claims)
    @rule(index=st.integers(0))
    def complete(self, index: int) -> None:
        """Complete, perhaps late or twice."""
        record = self.finish(index, self.inbox.complete)
        if record is not None:
            record.state, record.at = "done", self.clock()

    @precondition(lambda self: self.claims)
    @rule(index=st.integers(0), after=st.sampled_from([0.0, 3.0, 60.0]), number=st.integers(0, 2), done=_NAMES)
    def retry(self, index: int, after: float, number: int, done: frozenset[str]) -> None:
        """Give back for later."""
        record = self.finish(index, self.inbox.retry, after=after, done=done, failures=self.failure(number))
        if record is not None:
            record.state, record.at, record.given_back = "scheduled", self.clock() + after, True
            record.unreported = record.maybe_free = False

    @precondition(lambda self: self.claims)
    @rule(index=st.integers(0), number=st.integers(0, 2), done=_NAMES)
    def release(self, index: int, number: int, done: frozenset[str]) -> None:
        """Give back as if it had not been claimed."""
        record = self.finish(index, self.inbox.release, done=done, failures=self.failure(number))
        if record is not None:
            record.state, record.at, record.given_back = "waiting", self.clock(), True
            record.attempt -= 1
            record.unreported = record.maybe_free = False

    @precondition(lambda self: self.claims)
    @rule(index=st.integers(0), number=st.integers(0, 2), done=_NAMES, handlers=_NAMES)
    def bury(self, index: int, number: int, done: frozenset[str], handlers: frozenset[str]) -> None:
        """Put into the dead letters."""
        names = tuple(sorted(handlers))
        record = self.finish(index, self.inbox.bury, handlers=names, done=done, failures=self.failure(number))
        if record is not None:
            record.state, record.at, record.handlers = "dead", self.clock(), names
            record.unreported = record.maybe_free = False

    @precondition(lambda self: self.claims)
    @rule(lease=_LEASES, first=st.integers(0), number=st.integers(1, 4))
    def renew(self, lease: float, first: int, number: int) -> None:
        """Extend leases, perhaps after they ran out."""
        some = self.claims[first % len(self.claims) :][:number]
        now = self.clock()
        lost = self.run(self.inbox.renew, some, lease=lease)
        for claim in some:
            record = self.model.current(claim)
            if record is None or not self.model.renewable(record, now):
                assert claim in lost, f"{claim.delivery.id} belongs to somebody else"
            else:
                assert claim not in lost, f"{claim.delivery.id} is lost for nothing"
                self.model.end_leases_of_group(record, now)
                record.at = now + lease

    @rule(seconds=st.sampled_from([1.0, 6.0, 40.0, 86_400.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass; leases may run out."""
        self.run(self.store.advance, self.inbox, self.clock, seconds)

    @rule()
    def tidy(self) -> None:
        """Forget what was completed long ago."""
        self.run(self.inbox.tidy)
        oldest = self.clock() - self.store.retention
        for record in list(self.model.records.values()):
            if record.state == "done" and record.at <= oldest:
                del self.model.records[record.key]

    @rule()
    def restart(self) -> None:
        """Stop, with whatever is claimed, and start again."""
        self.inbox = self.run(self.store.restart, self.inbox, self.clock)
        for record in self.model.records.values():
            record.maybe_free = record.state == "running" and record.at > self.clock()

    @rule(limit=st.integers(1, 4))
    def dispatch(self, limit: int) -> None:
        """Name what is ready."""
        now = self.clock()
        names = self.run(self.inbox.dispatch, limit, again_after=_NAMED_AGAIN)
        slots = [slot for slot in self.model.slots(now) if slot.record.named_until <= now or slot.record.given_back]
        certain = {slot.record.key for slot in slots if slot.certain and slot.record.named_until <= now}
        assert len(set(names)) == len(names) <= limit
        assert set(names) <= {slot.record.key for slot in slots}
        assert len(names) == limit or certain <= set(names)
        for name in names:
            record = self.model.records[name]
            self.model.end_leases_of_group(record, now)
            record.named_until = now + _NAMED_AGAIN
            record.fresh = record.given_back = False

    def dead(self, id: str | None, topic: str | None, handler: str | None) -> list[Record]:
        """Return what the model holds for dead."""
        return [
            record
            for record in self.model.records.values()
            if record.state == "dead"
            and id in (None, record.key)
            and (topic is None or f'"topic": "{topic}"'.encode() in record.raw)
            and (handler is None or handler in record.handlers)
        ]

    @rule(id=st.none() | _KEYS, topic=st.none() | _TOPICS, handler=st.sampled_from([None, "x", "y"]))
    def replay(self, id: str | None, topic: str | None, handler: str | None) -> None:
        """Give dead letters another chance."""
        expected = self.dead(id, topic, handler)
        assert self.run(self.inbox.replay, id=id, topic=topic, handler=handler) == len(expected)
        for record in expected:
            record.state, record.at, record.attempt = "waiting", self.clock(), 0
            record.failures, record.handlers, record.fresh, record.named_until = (), (), False, 0.0

    @rule(topic=st.none() | _TOPICS, handler=st.sampled_from([None, "x"]), older_than=st.sampled_from([None, 30.0]))
    def purge(self, topic: str | None, handler: str | None, older_than: float | None) -> None:
        """Forget dead letters."""
        latest = self.clock() - (older_than or 0.0)
        expected = [record for record in self.dead(None, topic, handler) if record.at <= latest]
        purged = self.run(self.inbox.purge, topic=topic, handler=handler, older_than=older_than)
        assert purged == len(expected)
        for record in expected:
            del self.model.records[record.key]

    @rule(key=_KEYS)
    def forget(self, key: str) -> None:
        """Erase what mentions a contact, in whatever state it is; the item of a notification mentions its key."""
        expected = [one for one in self.model.records.values() if one.key == key and one.state != "done"]
        assert self.run(self.inbox.forget, key) == len(expected)
        for record in expected:
            record.state, record.at = "done", self.clock()

    @rule()
    def look_at_dead_letters(self) -> None:
        """Compare everything that people see of them."""
        letters = self.run(self.inbox.list_dead)
        assert [letter.died_at for letter in letters] == sorted((one.died_at for one in letters), reverse=True)
        seen = {
            one.id: (one.notification.raw, one.handlers, one.done, one.failures, one.attempts, one.died_at)
            for one in letters
        }
        assert seen == {
            one.key: (one.raw, one.handlers, one.done, one.failures, one.attempt, one.at)
            for one in self.dead(None, None, None)
        }

    @invariant()
    def counts_agree(self) -> None:
        """Nothing is lost and nothing is doubled."""
        stats = self.run(self.inbox.stats)
        counts = self.model.count(self.clock())
        doubtful = sum(record.maybe_free and record.at > self.clock() for record in self.model.records.values())
        assert (stats.scheduled, stats.dead, stats.done) == (counts["scheduled"], counts["dead"], counts["done"])
        assert stats.waiting + stats.running == counts["waiting"] + counts["running"]
        assert 0 <= counts["running"] - stats.running <= doubtful
