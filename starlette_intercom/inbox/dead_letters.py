"""Dead letters, for people: what failed for good, why, and another chance for it."""

from __future__ import annotations

from collections.abc import Sequence

from .contract import DeadLetter, Inbox


class DeadLetters:
    """The dead letters of an inbox; ``intercom.dead_letters`` while the app runs.

    Nothing leaves them except by replay or purge.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def list(
        self, topic: str | None = None, handler: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters, the latest first.

        Args:
            topic: only of this topic.
            handler: only those in which this handler failed for good.
            limit: at most so many.

        Raises:
            InboxUnavailable: the inbox cannot be reached.
        """
        return await self._inbox.list_dead(topic=topic, handler=handler, limit=limit)

    async def get(self, id: str) -> DeadLetter | None:
        """Return one dead letter, or None where there is none under this id."""
        return await self._inbox.get_dead(id)

    async def replay(self, id: str) -> bool:
        """Run one again: with fresh attempts, and only the handlers that have not succeeded.

        Returns:
            False where there is no dead letter under this id.
        """
        return await self._inbox.replay(id=id) == 1

    async def replay_all(self, topic: str | None = None, handler: str | None = None) -> int:
        """Run all again, or those that fit; return how many."""
        return await self._inbox.replay(topic=topic, handler=handler)

    async def purge(
        self,
        id: str | None = None,
        *,
        topic: str | None = None,
        handler: str | None = None,
        older_than: float | None = None,
    ) -> int:
        """Forget one, those that fit, or all; return how many.

        Args:
            id: only this one.
            topic: only of this topic.
            handler: only those in which this handler failed for good.
            older_than: only those that died at least so many seconds ago.
        """
        return await self._inbox.purge(id=id, topic=topic, handler=handler, older_than=older_than)
