"""An inbox that fails on demand, to see what becomes of those who rely on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import anyio
import anyio.lowlevel

from starlette_intercom import Claim, DeadLetter, Failure, Inbox, InboxUnavailable, Stats, VerifiedNotification

T = TypeVar("T")
Fault: TypeAlias = Literal["unavailable", "bug", "hangs", "lost answer"]
FAULTS: tuple[Fault, ...] = ("unavailable", "bug", "hangs", "lost answer")


class FaultyInbox(Inbox):
    """Passes every call on to another inbox, unless a fault is set for it.

    Faults by the name of the method: ``unavailable`` and ``bug`` raise and do nothing, ``hangs`` never returns,
    ``lost answer`` does it and raises all the same. Each is used up once.
    """

    def __init__(self, inbox: Inbox, *, durable: bool = True) -> None:
        self.inbox = inbox
        self.durable = durable
        self.faults: dict[str, list[Fault]] = {}
        self.calls: list[str] = []
        self.called: dict[str, anyio.Event] = {}

    def will(self, method: str, fault: Fault, *, times: int = 1) -> None:
        """Set what happens in the next calls of a method."""
        self.faults[method] = [fault] * times

    async def until(self, method: str) -> None:
        """Wait for the next call of a method to be over."""
        self.called[method] = anyio.Event()
        await self.called[method].wait()

    async def _call(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        await anyio.lowlevel.checkpoint()
        self.calls.append(method)
        pending = self.faults.get(method)
        fault = pending.pop(0) if pending else None
        try:
            if fault == "hangs":
                await anyio.sleep_forever()
            if fault == "unavailable":
                raise InboxUnavailable("the disk is full")
            if fault == "bug":
                raise ZeroDivisionError("a defect of the inbox")
            result = await call()
            if fault == "lost answer":
                raise InboxUnavailable("the connection broke")
            return result
        finally:
            if method in self.called:
                self.called.pop(method).set()

    async def open(self) -> None:
        await self._call("open", self.inbox.open)

    async def close(self) -> None:
        await self._call("close", self.inbox.close)

    async def accept(
        self, notification: VerifiedNotification, *, key: str, group: str | None = None, trace: str | None = None
    ) -> bool:
        return await self._call("accept", lambda: self.inbox.accept(notification, key=key, group=group, trace=trace))

    async def claim(self, limit: int, *, lease: float, ids: Sequence[str] | None = None) -> Sequence[Claim]:
        return await self._call("claim", lambda: self.inbox.claim(limit, lease=lease, ids=ids))

    async def wait(self, timeout: float) -> None:
        await self._call("wait", lambda: self.inbox.wait(timeout))

    async def renew(self, claims: Sequence[Claim], *, lease: float) -> Sequence[Claim]:
        return await self._call("renew", lambda: self.inbox.renew(claims, lease=lease))

    async def mark(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        await self._call("mark", lambda: self.inbox.mark(claim, done=done, failures=failures))

    async def complete(self, claim: Claim) -> None:
        await self._call("complete", lambda: self.inbox.complete(claim))

    async def retry(self, claim: Claim, *, after: float, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        await self._call("retry", lambda: self.inbox.retry(claim, after=after, done=done, failures=failures))

    async def release(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        await self._call("release", lambda: self.inbox.release(claim, done=done, failures=failures))

    async def bury(self, claim: Claim, **what: Any) -> None:
        await self._call("bury", lambda: self.inbox.bury(claim, **what))

    async def dispatch(self, limit: int, *, again_after: float) -> Sequence[str]:
        return await self._call("dispatch", lambda: self.inbox.dispatch(limit, again_after=again_after))

    async def list_dead(self, **what: Any) -> Sequence[DeadLetter]:
        return await self._call("list_dead", lambda: self.inbox.list_dead(**what))

    async def get_dead(self, id: str) -> DeadLetter | None:
        return await self._call("get_dead", lambda: self.inbox.get_dead(id))

    async def replay(self, **what: Any) -> int:
        return await self._call("replay", lambda: self.inbox.replay(**what))

    async def purge(self, **what: Any) -> int:
        return await self._call("purge", lambda: self.inbox.purge(**what))

    async def forget(self, value: str) -> int:
        return await self._call("forget", lambda: self.inbox.forget(value))

    async def stats(self) -> Stats:
        return await self._call("stats", self.inbox.stats)

    async def tidy(self) -> None:
        await self._call("tidy", self.inbox.tidy)
