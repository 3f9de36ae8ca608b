"""What became of events that were sent, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import EventError
from .event import Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event.

    Attributes:
        event: the event as it was sent; its ``created_at`` differs from yours if it was shifted.
        error: why it did not reach Intercom, or None if it did.
    """

    event: Event
    error: EventError | None = None

    @property
    def ok(self) -> bool:
        """Whether Intercom has taken the event."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        succeeded: events that Intercom has taken.
        failed: events that did not reach it.
    """

    succeeded: int
    failed: int

    @property
    def done(self) -> int:
        """Events that are through, one way or the other."""
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class TrackResult:
    """What became of the events of one run.

    Attributes:
        succeeded: how many Intercom has taken.
        failed: those that did not reach it, each with its error, in the order in which they failed. The first 10,000,
            so that a run of any length fits into memory; use ``stream`` to see more.
        failed_count: how many did not reach it.
    """

    succeeded: int
    failed: tuple[Outcome, ...]
    failed_count: int
