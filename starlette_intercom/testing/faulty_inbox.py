"""An inbox with faults: around any other, to see what an app does when things go wrong."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import anyio

from ..errors import InboxUnavailable
from ..inbox.contract import Claim, DeadLetter, Failure, Inbox, Stats
from ..notification import VerifiedNotification

ResultT = TypeVar("ResultT")

InboxFault = Literal["down", "lost", "hang"]
Operation = Literal[
    "open", "accept", "claim", "renew", "mark", "complete", "retry", "release", "bury", "dispatch", "list_dead",
    "get_dead", "replay", "purge", "forget", "stats", "tidy",
]  # fmt: skip


class FaultyInbox(Inbox):
    """Passes everything on to another inbox, unless it was given a fault.

    ::

        inbox = FaultyInbox(RecordingInbox())
        inbox.inject("accept", "down", "lost")      # the next two notifications
        inbox.run_again(1)                          # a crash after the handlers, before that was written down

    A fault is one of ``down`` (``InboxUnavailable``; nothing has changed), ``lost`` (it was done, but the answer got
    lost: a crash after the commit) and ``hang`` (no answer until the caller gives up).

    Args:
        inbox: the inbox behind.

    Attributes:
        down: every operation fails for as long as this is True.
        reorder: what was claimed is handed out in a random order, drawn from this; None keeps the order.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._faults: dict[str, deque[InboxFault]] = {}
        self._to_run_again = 0
        self.durable = inbox.durable
        self.down = False
        self.reorder: random.Random | None = None

    def inject(self, operation: Operation, *faults: InboxFault) -> None:
        """Give the next calls of an operation these faults.

        Args:
            operation: a method of the inbox.
            faults: one for each call.
        """
        self._faults.setdefault(operation, deque()).extend(faults)

    def run_again(self, times: int) -> None:
        """Run the next deliveries that complete once more, all their handlers, as after a crash.

        Args:
            times: how many completions get lost.
        """
        self._to_run_again += times

    async def open(self) -> None:
        """Open the inbox behind."""
        await self._pass("open", self._inbox.open)

    async def close(self) -> None:
        """Close the inbox behind."""
        await self._inbox.close()

    async def accept(
        self, notification: VerifiedNotification, *, key: str, group: str | None = None, trace: str | None = None
    ) -> bool:
        """Pass it on."""
        return await self._pass("accept", lambda: self._inbox.accept(notification, key=key, group=group, trace=trace))

    async def claim(self, limit: int, *, lease: float, ids: Sequence[str] | None = None) -> Sequence[Claim]:
        """Pass it on, and shuffle what comes."""
        claims = await self._pass("claim", lambda: self._inbox.claim(limit, lease=lease, ids=ids))
        return claims if self.reorder is None else self.reorder.sample(claims, len(claims))

    async def wait(self, timeout: float) -> None:
        """Pass it on."""
        await self._inbox.wait(timeout)

    async def renew(self, claims: Sequence[Claim], *, lease: float) -> Sequence[Claim]:
        """Pass it on."""
        return await self._pass("renew", lambda: self._inbox.renew(claims, lease=lease))

    async def mark(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Pass it on."""
        await self._pass("mark", lambda: self._inbox.mark(claim, done=done, failures=failures))

    async def complete(self, claim: Claim) -> None:
        """Pass it on, or give the delivery back instead."""
        if self._to_run_again > 0:
            self._to_run_again -= 1
            await self._inbox.release(claim, done=claim.done, failures=claim.failures)
        else:
            await self._pass("complete", lambda: self._inbox.complete(claim))

    async def retry(self, claim: Claim, *, after: float, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Pass it on."""
        await self._pass("retry", lambda: self._inbox.retry(claim, after=after, done=done, failures=failures))

    async def release(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Pass it on."""
        await self._pass("release", lambda: self._inbox.release(claim, done=done, failures=failures))

    async def bury(
        self, claim: Claim, *, handlers: tuple[str, ...], done: frozenset[str], failures: tuple[Failure, ...]
    ) -> None:
        """Pass it on."""
        await self._pass("bury", lambda: self._inbox.bury(claim, handlers=handlers, done=done, failures=failures))

    async def dispatch(self, limit: int, *, again_after: float) -> Sequence[str]:
        """Pass it on."""
        return await self._pass("dispatch", lambda: self._inbox.dispatch(limit, again_after=again_after))

    async def list_dead(
        self, *, topic: str | None = None, handler: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Pass it on."""
        return await self._pass("list_dead", lambda: self._inbox.list_dead(topic=topic, handler=handler, limit=limit))

    async def get_dead(self, id: str) -> DeadLetter | None:
        """Pass it on."""
        return await self._pass("get_dead", lambda: self._inbox.get_dead(id))

    async def replay(self, *, id: str | None = None, topic: str | None = None, handler: str | None = None) -> int:
        """Pass it on."""
        return await self._pass("replay", lambda: self._inbox.replay(id=id, topic=topic, handler=handler))

    async def purge(
        self,
        *,
        id: str | None = None,
        topic: str | None = None,
        handler: str | None = None,
        older_than: float | None = None,
    ) -> int:
        """Pass it on."""
        return await self._pass(
            "purge", lambda: self._inbox.purge(id=id, topic=topic, handler=handler, older_than=older_than)
        )

    async def forget(self, value: str) -> int:
        """Pass it on."""
        return await self._pass("forget", lambda: self._inbox.forget(value))

    async def stats(self) -> Stats:
        """Pass it on."""
        return await self._pass("stats", self._inbox.stats)

    async def tidy(self) -> None:
        """Pass it on."""
        await self._pass("tidy", self._inbox.tidy)

    async def _pass(self, operation: Operation, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        faults = self._faults.get(operation)
        fault = faults.popleft() if faults else None
        if self.down or fault == "down":
            raise InboxUnavailable("the inbox is down, as it was told to be")
        if fault == "hang":
            await anyio.sleep_forever()
        result = await call()
        if fault == "lost":
            raise InboxUnavailable("the inbox did it, and its answer was lost, as it was told")
        return result
