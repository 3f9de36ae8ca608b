"""Leases: what this process has claimed, held for as long as it runs, and recorded when it is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import anyio

from .. import messages
from ..errors import InboxUnavailable, LeaseLost
from ..inbox.contract import Claim, Inbox
from ..messages import logger
from ..time_limit import time_limit
from .run import Run

T = TypeVar("T")

LEASE: Final = 30.0
"""Seconds for which a claim holds; it is renewed three times as often."""

_LONGEST_PAUSE: Final = 1.0  # seconds between two tries to reach an inbox that is away


class Leases:
    """The runs of one start, whatever the inbox does: one that is away is asked again, and once it is in the log.

    Args:
        inbox: where deliveries are.
        lease: seconds for which a claim holds unless it is renewed.
    """

    def __init__(self, inbox: Inbox, lease: float) -> None:
        self._inbox = inbox
        self._lease = lease
        self._runs: dict[int, Run] = {}  # by fencing number
        self._reachable = True

    async def claim(self, limit: int, ids: Sequence[str] | None) -> Sequence[Run]:
        """Take up to ``limit`` deliveries; where the inbox cannot be reached, pause for a moment and return nothing."""
        try:
            claims = await self._answer(lambda: self._inbox.claim(limit, lease=self._lease, ids=ids))
        except Exception as error:  # whatever an inbox does, the workers live on
            self._note_unreachable(error)
            await anyio.sleep(_LONGEST_PAUSE)
            return ()
        self._note_reachable()
        return self._hold(claims)

    async def wait(self, timeout: float, *, limit: int = 0) -> Sequence[Run]:
        """Return when a claim may find something, after ``timeout`` seconds at the latest.

        With a limit, up to so many deliveries may be taken on the way, which may take as long as a claim.
        """
        with time_limit(timeout + self._lease if limit else timeout):
            try:
                if limit:
                    claims = await self._inbox.claim_next(limit, lease=self._lease, timeout=timeout)
                    return self._hold(claims) if claims else ()
                await self._inbox.wait(timeout)
            except Exception as error:
                self._note_unreachable(error)
                await anyio.sleep(timeout)
        return ()

    async def keep(self) -> None:
        """Renew all leases in time, until cancelled; runs whose lease is lost are stopped."""
        while True:
            await anyio.sleep(self._lease / 3)
            if not self._runs:
                continue
            try:
                lost = await self._answer(self._renew)
            except Exception as error:
                self._note_unreachable(error)
                continue
            self._note_reachable()
            for claim in lost:
                run = self._runs.get(claim.delivery.fencing)
                if run is not None:
                    run.lose()

    def drop(self, run: Run) -> None:
        """Renew the lease of a run no longer; also of one that was dropped already."""
        self._runs.pop(run.claim.delivery.fencing, None)

    async def record(self, run: Run, write: Callable[[], Awaitable[None]]) -> None:
        """Write an outcome down; where the inbox is away, keep trying for as long as the delivery is ours."""
        pause = 0.05
        while True:
            try:
                await (self._answer(write) if self._inbox.durable else write())
            except LeaseLost:
                raise
            except Exception as error:
                self._note_unreachable(error)
            else:
                return
            if run.lost:
                raise LeaseLost
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _hold(self, claims: Sequence[Claim]) -> Sequence[Run]:
        runs = [Run(claim) for claim in claims]
        for run in runs:
            self._runs[run.claim.delivery.fencing] = run
        return runs

    async def _renew(self) -> Sequence[Claim]:
        return await self._inbox.renew([run.claim for run in self._runs.values()], lease=self._lease)

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Have the inbox do something, within a lease: a record outside of this process may leave us without answer."""
        with time_limit(self._lease):
            return await ask()
        raise InboxUnavailable(f"no answer within {self._lease:g} s")

    def _note_unreachable(self, error: Exception) -> None:
        if self._reachable:
            self._reachable = False
            logger.error(messages.inbox_unreachable(error))

    def _note_reachable(self) -> None:
        if not self._reachable:
            self._reachable = True
            logger.warning(messages.inbox_back())
