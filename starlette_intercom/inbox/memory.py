"""The inbox in memory: for tests and trials. What it holds is gone when the process is."""

from __future__ import annotations

import heapq
import itertools
import time
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import msgspec

from ..errors import ConfigurationError, InboxFull, LeaseLost
from ..notification import StoredNotification, VerifiedNotification
from ..time_limit import time_limit
from .contract import RETENTION, Claim, DeadLetter, Delivery, Failure, Inbox, Stats

MAX_UNFINISHED: Final = 100_000
MAX_BYTES: Final = 256 * 2**20
_MAX_KEYS: Final = 500_000  # of completed deliveries
_MAX_STALE_TIMERS: Final = 1000  # and as many as there are records

_WAITING, _SCHEDULED, _RUNNING, _DEAD = "waiting", "scheduled", "running", "dead"


class _Record(msgspec.Struct, eq=False):
    """One delivery that is not completed."""

    id: str
    notification: StoredNotification[Any]
    group: str | None
    trace: str | None
    order: tuple[int, int]  # created_at, then arrival: the order within its group
    first_seen: float
    until: float  # since when it is ready; or when it will be; or when its lease ends; or when it died
    state: str = _WAITING
    attempt: int = 0
    fencing: int = 0
    recovered: bool = False
    named_at: float = float("-inf")
    done: frozenset[str] = frozenset()
    failures: tuple[Failure, ...] = ()
    handlers: tuple[str, ...] = ()


@dataclass(slots=True)
class _Group:
    """The unfinished deliveries of one group, in order: only the first may run, and only when none does."""

    members: list[tuple[tuple[int, int], str]] = field(default_factory=list)
    running: _Record | None = None


class MemoryInbox(Inbox):
    """An inbox in the memory of this process, bounded.

    Args:
        max_unfinished: how many deliveries it holds at the most, dead letters included; then it is full.
        max_bytes: how many bytes of payload it holds at the most.
        retention: seconds for which the keys of completed deliveries are known, as long as there are not more than
            half a million.
        clock: Unix time in seconds.

    Raises:
        ConfigurationError: a bound is not positive.
    """

    durable = False

    def __init__(
        self,
        *,
        max_unfinished: int = MAX_UNFINISHED,
        max_bytes: int = MAX_BYTES,
        retention: float = RETENTION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_unfinished < 1 or max_bytes < 1 or not retention > 0:
            raise ConfigurationError("max_unfinished, max_bytes and retention must be positive.")
        self._max_unfinished = max_unfinished
        self._max_bytes = max_bytes
        self._retention = retention
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._bytes = 0
        self._completed: dict[str, float] = {}  # key to time, oldest first
        self._groups: dict[str, _Group] = {}
        # Both heaps may hold entries that are out of date; they are recognised when they come up.
        self._ready: list[tuple[float, int, _Record]] = []
        self._timers: list[tuple[float, int, str]] = []  # by id, so that they keep no payload of what is completed
        self._numbers = itertools.count(1)
        self._changed = anyio.Event()
        self._news = False  # something became ready since the last claim or dispatch began

    async def open(self) -> None:
        """Begin to serve; what an earlier start of the same object left is still there."""
        self._changed = anyio.Event()
        self._news = True

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    async def accept(
        self, notification: VerifiedNotification, *, key: str, group: str | None = None, trace: str | None = None
    ) -> bool:
        """Remember a notification."""
        if key in self._records or key in self._completed:
            return False
        size = len(notification.raw)
        if len(self._records) >= self._max_unfinished or self._bytes + size > self._max_bytes:
            raise InboxFull("the inbox in memory is full")
        now = self._clock()
        number = next(self._numbers)
        record = _Record(
            id=key,
            notification=StoredNotification.of(notification),
            group=group,
            trace=trace,
            order=(notification.created_at, number),
            first_seen=now,
            until=now,
        )
        self._records[key] = record
        self._bytes += size
        if group is None:
            self._offer(record)
        else:
            self._join(record)
        return True

    async def claim(self, limit: int, *, lease: float, ids: Sequence[str] | None = None) -> Sequence[Claim]:
        """Take deliveries that are ready."""
        self._news = False
        now = self._clock()
        self._pass_time(now)
        claims: list[Claim] = []
        if ids is not None:
            for name in ids:
                if len(claims) == limit:
                    break
                record = self._records.get(name)
                if record is not None and record.state is _WAITING and self._may_run(record):
                    claims.append(self._take(record, now + lease))
            while self._ready and not self._is_ready(self._ready[0][2], self._ready[0][0]):
                heapq.heappop(self._ready)
            return claims
        while self._ready and len(claims) < limit:
            since, _, record = heapq.heappop(self._ready)
            if self._is_ready(record, since):
                claims.append(self._take(record, now + lease))
        self._news = bool(self._ready)
        return claims

    async def wait(self, timeout: float) -> None:
        """Return when there may be something to claim."""
        if self._news:
            return
        if self._timers:
            timeout = min(timeout, max(0.0, self._timers[0][0] - self._clock()))
        if self._changed.is_set():  # otherwise somebody else waits for it, too
            self._changed = anyio.Event()
        with time_limit(timeout):
            await self._changed.wait()

    async def renew(self, claims: Sequence[Claim], *, lease: float) -> Sequence[Claim]:
        """Extend leases."""
        until = self._clock() + lease
        lost = []
        for claim in claims:
            try:
                record = self._held(claim)
            except LeaseLost:
                lost.append(claim)
                continue
            if record.group is not None:
                group = self._groups[record.group]
                if group.running not in (None, record):
                    lost.append(claim)
                    continue
                group.running = record
            record.state, record.until, record.recovered = _RUNNING, until, False
            self._set_timer(record)
        return lost

    async def mark(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Remember how far a run has come."""
        record = self._held(claim)
        record.done, record.failures = done, failures

    async def complete(self, claim: Claim) -> None:
        """Keep the key, forget the payload."""
        self._finish(self._held(claim))

    async def retry(self, claim: Claim, *, after: float, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Schedule the next attempt."""
        record = self._held(claim)
        record.done, record.failures = done, failures
        record.state, record.until, record.recovered = _SCHEDULED, self._clock() + after, False
        self._set_timer(record)
        self._stop(record)

    async def release(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Give a delivery back."""
        record = self._held(claim)
        record.done, record.failures = done, failures
        record.attempt -= 1
        self._make_ready(record, self._clock(), recovered=False)

    async def bury(
        self,
        claim: Claim,
        *,
        handlers: tuple[str, ...],
        done: frozenset[str],
        failures: tuple[Failure, ...],
    ) -> None:
        """Put a delivery into the dead letters."""
        record = self._held(claim)
        record.done, record.failures, record.handlers = done, failures, handlers
        record.state, record.until, record.recovered = _DEAD, self._clock(), False
        self._leave(record)

    async def dispatch(self, limit: int, *, again_after: float) -> Sequence[str]:
        """Name deliveries that are ready."""
        self._news = False
        now = self._clock()
        self._pass_time(now)
        names: list[str] = []
        for record in self._records.values():
            if len(names) >= limit:
                break
            if record.state is _WAITING and record.named_at + again_after <= now and self._may_run(record):
                record.named_at = now
                names.append(record.id)
        self._news = len(names) >= limit  # there may be more
        return names

    async def list_dead(
        self, *, topic: str | None = None, handler: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters, the latest first."""
        dead = sorted(self._dead(None, topic, handler), key=lambda record: (-record.until, record.id))
        return [_letter(record) for record in dead[:limit]]

    async def get_dead(self, id: str) -> DeadLetter | None:
        """Return one dead letter."""
        return next(map(_letter, self._dead(id, None, None)), None)

    async def replay(self, *, id: str | None = None, topic: str | None = None, handler: str | None = None) -> int:
        """Make dead letters ready again."""
        found = list(self._dead(id, topic, handler))
        for record in found:
            record.attempt, record.failures, record.handlers = 0, (), ()
            record.state, record.until, record.recovered = _WAITING, self._clock(), False
            record.named_at = float("-inf")
            self._join(record)
        return len(found)

    async def purge(
        self,
        *,
        id: str | None = None,
        topic: str | None = None,
        handler: str | None = None,
        older_than: float | None = None,
    ) -> int:
        """Forget dead letters."""
        newest = self._clock() - (older_than or 0.0)
        found = [record for record in self._dead(id, topic, handler) if record.until <= newest]
        for record in found:
            self._remove(record)
        return len(found)

    async def forget(self, value: str) -> int:
        """Erase what mentions a value."""
        found = [record for record in self._records.values() if record.notification.mentions(value)]
        for record in found:
            self._finish(record)
        return len(found)

    async def stats(self) -> Stats:
        """Return how the inbox stands."""
        now = self._clock()
        self._pass_time(now)
        counts = Counter(record.state for record in self._records.values())
        waiting = (record.until for record in self._records.values() if record.state is _WAITING)
        return Stats(
            waiting=counts[_WAITING],
            running=counts[_RUNNING],
            scheduled=counts[_SCHEDULED],
            dead=counts[_DEAD],
            done=len(self._completed),
            oldest_waiting=max(0.0, now - min(waiting, default=now)),
        )

    async def tidy(self) -> None:
        """Forget completed deliveries after the retention time."""
        oldest = self._clock() - self._retention
        for key in list(itertools.takewhile(lambda key: self._completed[key] <= oldest, self._completed)):
            del self._completed[key]

    def _pass_time(self, now: float) -> None:
        """Make ready what is due, and what nobody holds any more."""
        while self._timers and self._timers[0][0] <= now:
            at, _, name = heapq.heappop(self._timers)
            if self._is_due_at(name, at):
                record = self._records[name]
                self._make_ready(record, at, recovered=record.state is _RUNNING)

    def _is_due_at(self, name: str, at: float) -> bool:
        record = self._records.get(name)
        return record is not None and record.until == at and record.state in (_SCHEDULED, _RUNNING)

    def _take(self, record: _Record, until: float) -> Claim:
        recovered, record.recovered = record.recovered, False
        record.state, record.until = _RUNNING, until
        record.attempt += 1
        record.fencing = next(self._numbers)
        self._set_timer(record)
        if record.group is not None:
            self._groups[record.group].running = record
        return Claim(
            delivery=Delivery(
                id=record.id,
                topic=record.notification.topic,
                attempt=record.attempt,
                first_seen=record.first_seen,
                fencing=record.fencing,
            ),
            notification=record.notification,
            done=record.done,
            failures=record.failures,
            recovered=recovered,
            trace=record.trace,
        )

    def _held(self, claim: Claim) -> _Record:
        record = self._records.get(claim.delivery.id)
        # A lease that ran out still counts until somebody else claims the delivery.
        held = record is not None and (record.state is _RUNNING or record.recovered)
        if record is None or not held or record.fencing != claim.delivery.fencing:
            raise LeaseLost(f"The lease on {claim.delivery.id} is not the current one.")
        return record

    def _make_ready(self, record: _Record, since: float, *, recovered: bool) -> None:
        record.state, record.until, record.recovered = _WAITING, since, recovered
        record.named_at = float("-inf")
        if record.group is None:
            self._offer(record)
        else:
            self._stop(record)

    def _join(self, record: _Record) -> None:
        """Let a new or replayed delivery take its place."""
        if record.group is None:
            self._offer(record)
            return
        group = self._groups.setdefault(record.group, _Group())
        insort(group.members, (record.order, record.id))
        self._offer_first(group)

    def _stop(self, record: _Record) -> None:
        """A delivery no longer runs, and is not finished."""
        if record.group is not None:
            group = self._groups[record.group]
            if group.running is record:
                group.running = None
            self._offer_first(group)

    def _leave(self, record: _Record) -> None:
        """A delivery is finished, or dead: the next of its group may run."""
        if record.group is None:
            return
        group = self._groups[record.group]
        group.members.remove((record.order, record.id))
        if group.running is record:
            group.running = None
        if group.members:
            self._offer_first(group)
        else:
            del self._groups[record.group]

    def _finish(self, record: _Record) -> None:
        """Keep the key only."""
        self._remove(record)
        self._completed[record.id] = self._clock()
        if len(self._completed) > _MAX_KEYS:
            del self._completed[next(iter(self._completed))]

    def _remove(self, record: _Record) -> None:
        del self._records[record.id]
        self._bytes -= len(record.notification.raw)
        if record.group is not None and record.state is not _DEAD:
            self._leave(record)

    def _may_run(self, record: _Record) -> bool:
        if record.group is None:
            return True
        group = self._groups[record.group]
        return group.running is None and group.members[0][1] == record.id

    def _is_ready(self, record: _Record, since: float) -> bool:
        current = self._records.get(record.id) is record and record.state is _WAITING and record.until == since
        return current and (record.group is None or self._may_run(record))

    def _offer_first(self, group: _Group) -> None:
        first = self._records[group.members[0][1]]
        if group.running is None and first.state is _WAITING:
            self._offer(first)

    def _offer(self, record: _Record) -> None:
        heapq.heappush(self._ready, (record.until, next(self._numbers), record))
        if not self._news:
            self._news = True
            self._changed.set()

    def _set_timer(self, record: _Record) -> None:
        if len(self._timers) > 2 * len(self._records) + _MAX_STALE_TIMERS:  # leases of what is completed, as a rule
            self._timers = [timer for timer in self._timers if self._is_due_at(timer[2], timer[0])]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (record.until, next(self._numbers), record.id))

    def _dead(self, id: str | None, topic: str | None, handler: str | None) -> Iterator[_Record]:
        for record in self._records.values() if id is None else filter(None, [self._records.get(id)]):
            if (
                record.state is _DEAD
                and topic in (None, record.notification.topic)
                and (handler is None or handler in record.handlers)
            ):
                yield record


def _letter(record: _Record) -> DeadLetter:
    return DeadLetter(
        id=record.id,
        topic=record.notification.topic,
        notification=record.notification.fresh(),
        handlers=record.handlers,
        done=record.done,
        failures=record.failures,
        attempts=record.attempt,
        first_seen=record.first_seen,
        died_at=record.until,
    )
