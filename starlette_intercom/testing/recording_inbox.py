"""An inbox for tests: in memory, it remembers what happened, and one can wait for everything to be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio

from ..inbox.contract import Claim, DeadLetter, Failure
from ..inbox.memory import MemoryInbox
from ..notification import Notification, VerifiedNotification

PATIENCE: Final = 5.0
"""Seconds that handlers get in a test, unless told otherwise."""


class HandlersFailed(AssertionError):
    """Deliveries became dead letters; the text has the failures with their tracebacks.

    Attributes:
        letters: the dead letters.
    """

    def __init__(self, letters: Sequence[DeadLetter]) -> None:
        lines = []
        for letter in letters:
            lines.append(f"{letter.topic} ({letter.id}) failed in {', '.join(letter.handlers) or 'no handler'}:")
            for failure in letter.failures:
                lines.append(f"  attempt {failure.attempt}, {failure.handler}: {failure.error}: {failure.message}")
                lines += [f"    {line}" for line in failure.traceback.splitlines()]
        super().__init__("\n".join(lines))
        self.letters = tuple(letters)


class RecordingInbox(MemoryInbox):
    """Remembers what was handled, what came twice, and what died.

    ::

        inbox = RecordingInbox()
        intercom = Intercom("secret", inbox=inbox)
        ...
        await inbox.drain()
        assert [notification.topic for notification in inbox.handled] == ["contact.user.created"]

    Retries run at once, whatever a handler's schedule says; with a clock, when that has been advanced far enough.

    Args:
        clock: tells the time, and stands still until it is advanced.

    Attributes:
        accepted: notifications that were new, in the order of their arrival.
        duplicates: notifications that were known already.
        handled: notifications of which every handler has succeeded, in the order in which that happened.
        dead: dead letters, in the order in which they died; replayed and purged ones stay here.
        retries: seconds after which each failed delivery was to be tried again.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        super().__init__(clock=time.time if clock is None else clock)
        self._waits = clock is not None
        self._raised = 0
        self._progress = anyio.Event()
        self.accepted: list[Notification[Any]] = []
        self.duplicates: list[Notification[Any]] = []
        self.handled: list[Notification[Any]] = []
        self.dead: list[DeadLetter] = []
        self.retries: list[float] = []

    async def drain(self, timeout: float = PATIENCE, *, raise_errors: bool = True) -> None:
        """Wait until nothing waits or runs; with a clock, retries that are not due yet stay scheduled.

        Args:
            timeout: seconds of real time.
            raise_errors: whether deliveries that died since the last time are an error.

        Raises:
            HandlersFailed: deliveries became dead letters.
            TimeoutError: something is still not done.
        """
        with anyio.move_on_after(timeout) as patience:
            while (left := await self._unfinished()) > 0:
                self._progress = anyio.Event()
                self._wake()
                await self._progress.wait()
        if patience.cancelled_caught:
            raise TimeoutError(
                f"{left} deliveries not done after {timeout:g} s. Does the Intercom run, and does each handler end?"
            )
        died, self._raised = self.dead[self._raised :], len(self.dead)
        if died and raise_errors:
            raise HandlersFailed(died)

    async def accept(self, notification: VerifiedNotification, *, key: str, group: str | None = None) -> bool:
        """Remember a notification."""
        new = await super().accept(notification, key=key, group=group)
        (self.accepted if new else self.duplicates).append(notification)
        return new

    async def complete(self, claim: Claim) -> None:
        """Note that it was handled."""
        await super().complete(claim)
        self.handled.append(claim.notification)
        self._progress.set()

    async def retry(self, claim: Claim, *, after: float, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Schedule the next attempt, which without a clock is due at once."""
        await super().retry(claim, after=after if self._waits else 0.0, done=done, failures=failures)
        self.retries.append(after)
        self._progress.set()

    async def release(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Give a delivery back."""
        await super().release(claim, done=done, failures=failures)
        self._progress.set()

    async def bury(
        self, claim: Claim, *, handlers: tuple[str, ...], done: frozenset[str], failures: tuple[Failure, ...]
    ) -> None:
        """Note that it died."""
        await super().bury(claim, handlers=handlers, done=done, failures=failures)
        letter = await self.get_dead(claim.delivery.id)
        if letter is not None:
            self.dead.append(letter)
        self._progress.set()

    async def _unfinished(self) -> int:
        stats = await self.stats()
        return stats.waiting + stats.running + (0 if self._waits else stats.scheduled)

    def _wake(self) -> None:
        """Have the workers look again, since the clock may have been advanced."""
        self._news = True
        self._changed.set()
