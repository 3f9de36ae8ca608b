"""Two events of one name, contact and second are one event to Intercom: find them before they collapse."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal, get_args

from ..errors import ConfigurationError
from .event import Event
from .validation import contact_key, unix_seconds

OnCollision = Literal["warn", "shift"]

logger = logging.getLogger(__name__)


class Collisions:
    """Looks for collisions among the last 20,000 to 40,000 events of a run.

    Args:
        on_collision: ``warn`` to log the first collision of a run and send both events all the same, ``shift`` to move
            the later one to the next second that is free.
        reach: how many events are remembered for certain.

    Raises:
        ConfigurationError: an ``on_collision`` that does not exist.
    """

    def __init__(self, on_collision: OnCollision, *, reach: int = 20_000) -> None:
        if on_collision not in get_args(OnCollision):
            raise ConfigurationError(f"on_collision={on_collision!r}: use 'warn' or 'shift'.")
        self._shift = on_collision == "shift"
        self._reach = reach
        self._seen: set[int] = set()
        self._seen_before: set[int] = set()
        self._warned = False

    def resolve(self, event: Event) -> Event:
        """Take in one event.

        Args:
            event: a valid event.

        Returns:
            The event to send: the same, or one with a later ``created_at``.
        """
        created_at = second = unix_seconds("created_at", event.created_at)
        contact = contact_key(event.user_id, event.id, event.email)
        # Hashes, since a million names and contacts need not stay in memory.
        while (key := hash((event.name, contact, second))) in self._seen or key in self._seen_before:
            if not self._shift:
                self._warn(event.name)
                return event
            second += 1
        self._remember(key)
        return event if second == created_at else replace(event, created_at=second)

    def _remember(self, key: int) -> None:
        self._seen.add(key)
        if len(self._seen) >= self._reach:
            self._seen_before, self._seen = self._seen, set()

    def _warn(self, name: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "Two events named %r have the same contact and the same second in created_at: Intercom takes the "
                'second for a repeat and ignores it. Pass on_collision="shift" to move it by a second. '
                "Further collisions of this run are not logged.",
                name,
            )
