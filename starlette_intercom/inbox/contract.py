"""The contract of an inbox: the record of what was accepted and what became of it.

A delivery goes through these states::

    accept ──> waiting ──claim──> running ──complete──> done (key kept, payload erased)
                  ^                  │ │
                  │ release, lease   │ └────bury──────> dead (kept until replay, purge or forget)
                  │ ran out          │                    │
                  ├──────────────────┤                    │
                  │    retry         v                    │
                  └── (when due) ─ scheduled              │
                  └──────────────── replay ───────────────┘

Only who holds the current lease of a running delivery can change it: its number is the delivery's ``fencing`` number,
which grows with every claim in the inbox and is never used twice. An attempt is counted when it is claimed, so that a
handler which kills its process still runs out of attempts. A lease that ran out makes its delivery ready again, but
its claim stays the current one until somebody else claims the delivery.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from ..notification import StoredNotification, VerifiedNotification

RETENTION = 7 * 24 * 3600.0
"""Seconds for which the key of a completed delivery is known, unless the inbox is told otherwise: 7 days."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One notification on its way through its handlers; a handler may ask for it by annotation.

    Attributes:
        id: the key under which its copies are recognised; names it in logs, in the dead letters and on replay.
        topic: the topic of its notification.
        attempt: which run this is, counted from 1; starts again on replay.
        first_seen: when it was accepted, in Unix seconds.
        fencing: a number that is larger in every later run. Hand it to a store that refuses smaller ones, and a run
            that was overtaken can no longer write there.
    """

    id: str
    topic: str
    attempt: int
    first_seen: float
    fencing: int


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One failed attempt of one handler.

    Attributes:
        handler: the handler's name.
        attempt: the attempt of the delivery in which it happened.
        at: when, in Unix seconds.
        error: the name of the exception's type.
        message: the exception's text, bounded.
        traceback: where it was raised, without local variables, bounded; empty in older failures.
    """

    handler: str
    attempt: int
    at: float
    error: str
    message: str
    traceback: str = ""


class Claim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The right to run one delivery, for as long as its lease is renewed.

    Attributes:
        delivery: what is run, with the fencing number that serves as the token of the lease.
        notification: what Intercom sent.
        done: names of the handlers that have succeeded already.
        failures: every failed attempt since the delivery was accepted or replayed, oldest first.
        recovered: the run before this one never reported: its process died, or was stopped for longer than its lease.
        trace: what was given as the trace when it was accepted.
    """

    delivery: Delivery
    notification: StoredNotification[Any]
    done: frozenset[str] = frozenset()
    failures: tuple[Failure, ...] = ()
    recovered: bool = False
    trace: str | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A delivery that ran out of attempts or was refused; kept until it is replayed or purged.

    Attributes:
        id: the delivery's id.
        topic: the topic of its notification.
        notification: what Intercom sent.
        handlers: names of the handlers that failed for good.
        done: names of the handlers that have succeeded; a replay does not run them.
        failures: every failed attempt, oldest first.
        attempts: how often it was run.
        first_seen: when it was accepted, in Unix seconds.
        died_at: when it became a dead letter, in Unix seconds.
    """

    id: str
    topic: str
    notification: StoredNotification[Any]
    handlers: tuple[str, ...]
    done: frozenset[str]
    failures: tuple[Failure, ...]
    attempts: int
    first_seen: float
    died_at: float

    @property
    def error(self) -> Failure | None:
        """The last failure: why it lies here."""
        return self.failures[-1] if self.failures else None


class Stats(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an inbox stands.

    Attributes:
        waiting: accepted or due again, and not running.
        running: claimed under a lease.
        scheduled: failed, and waiting for their next attempt.
        dead: in the dead letters.
        done: completed and still known, which is for the retention time.
        oldest_waiting: seconds for which the oldest waiting delivery has been ready to run; 0 where none waits.
    """

    waiting: int = 0
    running: int = 0
    scheduled: int = 0
    dead: int = 0
    done: int = 0
    oldest_waiting: float = 0.0


class Inbox(ABC):
    """What every inbox does. ``starlette_intercom.testing`` has the suite that proves it.

    All methods run on one event loop between :meth:`open` and :meth:`close`; an inbox may be opened again afterwards,
    also on another loop. Every method raises :class:`~starlette_intercom.InboxUnavailable` when the record cannot be
    reached or written: then nothing has changed.

    Attributes:
        durable: what was accepted outlives the process.
    """

    durable: bool = True

    @abstractmethod
    async def open(self) -> None:
        """Connect, check, migrate.

        Raises:
            ConfigurationError: the settings or the stored data are not usable; the sentence says what to do.
            InboxUnavailable: not reachable now.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what is being written and let go of everything. Does nothing where it is not open."""

    @abstractmethod
    async def accept(
        self, notification: VerifiedNotification, *, key: str, group: str | None = None, trace: str | None = None
    ) -> bool:
        """Write a notification down, for good when this returns.

        Args:
            notification: what came in.
            key: its identity; becomes the id of the delivery.
            group: deliveries of one group never run at the same time, and run in the order of ``created_at`` among
                those unfinished, then in order of arrival. None: no such bond.
            trace: the W3C ``traceparent`` of the request, if it has one; every claim of the delivery carries it.

        Returns:
            True where it is new, False where the key is known: waiting, running, dead, or completed within the
            retention time.

        Raises:
            InboxFull: the bound on unfinished deliveries is reached.
        """

    @abstractmethod
    async def claim(self, limit: int, *, lease: float, ids: Sequence[str] | None = None) -> Sequence[Claim]:
        """Take up to ``limit`` deliveries that are ready: waiting, due, or with a lease that ran out; oldest first.

        Counts an attempt for each. Never waits for deliveries to come.

        Args:
            limit: at least 1.
            lease: seconds for which the claim holds unless it is renewed.
            ids: only these deliveries, where they are ready.
        """

    @abstractmethod
    async def wait(self, timeout: float) -> None:
        """Return when there may be what the last claim or dispatch did not find, or after ``timeout`` seconds.

        May return early without reason. Returns at once if something became ready after the last claim or dispatch
        began.
        """

    async def claim_next(self, limit: int, *, lease: float, timeout: float) -> Sequence[Claim]:
        """Wait as :meth:`wait` does, and claim what comes where that is not a step of its own.

        An inbox that can claim deliveries as they come in overrides this. A cancellation loses no claim.

        Args:
            limit: at most so many, at least 1.
            lease: seconds for which the claim holds unless it is renewed.
            timeout: seconds to wait.

        Returns:
            Claims; none does not say that nothing is ready.
        """
        await self.wait(timeout)
        return ()

    @abstractmethod
    async def renew(self, claims: Sequence[Claim], *, lease: float) -> Sequence[Claim]:
        """Extend leases to ``lease`` seconds from now.

        Returns:
            The claims that are lost: their deliveries belong to somebody else, or are no longer running.
        """

    @abstractmethod
    async def mark(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Write down how far a run has come, and keep running.

        Args:
            claim: the claim of this run.
            done: names of all handlers that have succeeded, replaces what was written before.
            failures: all failed attempts, replaces what was written before.

        Raises:
            LeaseLost: the claim is not the current one.
        """

    @abstractmethod
    async def complete(self, claim: Claim) -> None:
        """Every handler has succeeded: keep the key, erase the payload.

        Raises:
            LeaseLost: the claim is not the current one.
        """

    @abstractmethod
    async def retry(self, claim: Claim, *, after: float, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Give the delivery back, to be ready again in ``after`` seconds.

        Raises:
            LeaseLost: the claim is not the current one.
        """

    @abstractmethod
    async def release(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Give the delivery back, ready at once, as if this attempt had not been made.

        Raises:
            LeaseLost: the claim is not the current one.
        """

    @abstractmethod
    async def bury(
        self,
        claim: Claim,
        *,
        handlers: tuple[str, ...],
        done: frozenset[str],
        failures: tuple[Failure, ...],
    ) -> None:
        """Put the delivery into the dead letters.

        Args:
            claim: the claim of this run.
            handlers: names of the handlers that failed for good.
            done: names of the handlers that have succeeded.
            failures: all failed attempts.

        Raises:
            LeaseLost: the claim is not the current one.
        """

    @abstractmethod
    async def dispatch(self, limit: int, *, again_after: float) -> Sequence[str]:
        """Name deliveries that are ready, for a task engine to carry, and note that they were named.

        Args:
            limit: at most so many.
            again_after: seconds after which one that was named and is still not running is named again, since the
                engine may have lost it.
        """

    @abstractmethod
    async def list_dead(
        self, *, topic: str | None = None, handler: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters, the latest first.

        Args:
            topic: only of this topic.
            handler: only those in which this handler failed for good.
            limit: at most so many.
        """

    @abstractmethod
    async def get_dead(self, id: str) -> DeadLetter | None:
        """Return one dead letter, or None where there is none under this id."""

    @abstractmethod
    async def replay(self, *, id: str | None = None, topic: str | None = None, handler: str | None = None) -> int:
        """Make dead letters ready again: no failures, attempts from 1, only the handlers not yet done.

        Without a filter, all of them. Each is moved in one step: it is either still dead or ready.

        Returns:
            How many.
        """

    @abstractmethod
    async def purge(
        self,
        *,
        id: str | None = None,
        topic: str | None = None,
        handler: str | None = None,
        older_than: float | None = None,
    ) -> int:
        """Forget dead letters, payload and key. Without a filter, all of them.

        Args:
            id: only this one.
            topic: only of this topic.
            handler: only those in which this handler failed for good.
            older_than: only those that died at least so many seconds ago.

        Returns:
            How many.
        """

    @abstractmethod
    async def forget(self, value: str) -> int:
        """Erase every delivery whose item mentions ``value``, unless it is completed and has no payload any more.

        Their keys stay known as if they had been completed, so that no copy brings the payload back. A run that is
        under way has lost its lease. What is accepted while this works may be left.

        Returns:
            How many.
        """

    @abstractmethod
    async def stats(self) -> Stats:
        """Return how the inbox stands."""

    @abstractmethod
    async def tidy(self) -> None:
        """Forget completed deliveries that are older than the retention time. Called every minute or so."""
