"""What a server's handlers have seen, so that a measurement can check that each notification was handled once."""

from __future__ import annotations

from typing import Final

CAPACITY: Final = 4_000_000


class Tally:
    """Counts notifications by the number at the end of their ids, in memory that does not grow."""

    def __init__(self) -> None:
        self.handled = 0
        self._counts = bytearray(CAPACITY)

    def add(self, id: str) -> None:
        """Count one run of a handler."""
        self.handled += 1
        self._counts[int(id[-12:], 16)] += 1

    def read(self, *, unfinished: int = 0) -> dict[str, int]:
        """Return how many runs there were, of how many different notifications.

        Args:
            unfinished: deliveries that are not recorded as completed yet.
        """
        different = CAPACITY - self._counts.count(0)
        return {"handled": self.handled, "different": different, "unfinished": unfinished}
