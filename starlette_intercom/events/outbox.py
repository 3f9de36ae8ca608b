"""Events that wait to be sent in the background: the contract, and the record in memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import ConfigurationError, OutboxFull

LEASE = 120.0
"""Seconds for which an entry that was taken belongs to the process that took it."""

MAX_BATCH = 100
"""Events that are put at once, at most."""


def check_bound(max_events: int) -> None:
    """Check how many events an outbox may hold.

    Args:
        max_events: the bound.

    Raises:
        ConfigurationError: not even one batch would fit, so nothing might ever be kept.
    """
    if max_events < MAX_BATCH:
        raise ConfigurationError(f"max_events={max_events} is too small; an outbox holds at least {MAX_BATCH} events.")


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An event that waits.

    Attributes:
        id: names the entry within its outbox.
        body: the request's body, with the ``created_at`` of the first try.
    """

    id: int
    body: bytes


class Outbox(Protocol):
    """The record of events that were enqueued and have not reached Intercom.

    An entry that was taken is leased. If its process dies, the lease runs out and the entry can be taken again. That
    may send an event twice, also when a process is slower than its lease; since the body never changes, Intercom takes
    the second for a repeat and ignores it. So leases need no tokens here.
    """

    async def open(self) -> None:
        """Get ready, in the event loop that will use the outbox."""
        ...

    async def put(self, bodies: Sequence[bytes]) -> None:
        """Keep events; all of them or none. What is kept is as safe as this outbox can make it when this returns.

        Args:
            bodies: at most `MAX_BATCH` of them.

        Raises:
            OutboxFull: they would be more than the outbox may hold.
        """
        ...

    async def take(self, limit: int) -> list[OutboxEntry]:
        """Lease the oldest entries that nobody has leased, at most ``limit``."""
        ...

    async def done(self, ids: Sequence[int]) -> None:
        """Forget entries. Ids that are not there are fine."""
        ...

    async def release(self, ids: Sequence[int]) -> None:
        """Give entries back before their lease is over. Ids that are not there are fine."""
        ...

    async def count(self) -> int:
        """Tell how many entries there are, leased or not."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections. The outbox can be opened again."""
        ...


class MemoryOutbox:
    """An outbox that is lost with its process.

    Args:
        max_events: how many events it holds at most.
        clock: tells the time in seconds.

    Raises:
        ConfigurationError: the bound is too small.
    """

    def __init__(self, *, max_events: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        check_bound(max_events)
        self._max_events = max_events
        self._clock = clock
        self._ids = itertools.count(1)
        self._waiting: dict[int, bytes] = {}
        self._leased: dict[int, tuple[bytes, float]] = {}

    async def open(self) -> None:
        """Nothing to do: memory is always ready."""

    async def put(self, bodies: Sequence[bytes]) -> None:
        """Keep events; all of them or none.

        Raises:
            OutboxFull: they would be more than ``max_events``.
        """
        if await self.count() + len(bodies) > self._max_events:
            raise OutboxFull(f"{self._max_events} events wait to be sent")
        for body in bodies:
            self._waiting[next(self._ids)] = body

    async def take(self, limit: int) -> list[OutboxEntry]:
        """Lease the oldest entries that nobody has leased, at most ``limit``."""
        now = self._clock()
        # In the order in which they were taken, so the first that is still leased ends the search.
        for id_ in list(itertools.takewhile(lambda id_: self._leased[id_][1] <= now, self._leased)):
            self._waiting[id_] = self._leased.pop(id_)[0]
        entries = [OutboxEntry(id_, body) for id_, body in itertools.islice(self._waiting.items(), limit)]
        for entry in entries:
            self._leased[entry.id] = (self._waiting.pop(entry.id), now + LEASE)
        return entries

    async def done(self, ids: Sequence[int]) -> None:
        """Forget entries."""
        for id_ in ids:
            self._leased.pop(id_, None)
            self._waiting.pop(id_, None)

    async def release(self, ids: Sequence[int]) -> None:
        """Give entries back before their lease is over."""
        for id_ in ids:
            leased = self._leased.pop(id_, None)
            if leased is not None:
                self._waiting[id_] = leased[0]

    async def count(self) -> int:
        """Tell how many entries there are."""
        return len(self._waiting) + len(self._leased)

    async def aclose(self) -> None:
        """Nothing to do; the entries stay."""
