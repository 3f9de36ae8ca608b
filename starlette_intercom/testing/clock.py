"""A clock for tests: it stands still until it is told to move."""

from __future__ import annotations


class Clock:
    """Tells the time in Unix seconds; pass it wherever there is a ``clock=``.

    ::

        clock = Clock()
        async with IntercomKit(handlers, clock=clock) as kit:
            ...
            clock.advance(60)

    Args:
        now: Unix seconds to begin at.
    """

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def __repr__(self) -> str:
        return f"<Clock at {self.now:g}>"

    def advance(self, seconds: float) -> None:
        """Move on.

        Raises:
            ValueError: time does not go back.
        """
        if seconds < 0:
            raise ValueError("A clock does not go back: give seconds from 0 on.")
        self.now += seconds
