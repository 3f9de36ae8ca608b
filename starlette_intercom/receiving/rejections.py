"""What was turned away, counted, and logged without letting a flood into the log."""

from __future__ import annotations

import math
import time
from typing import Final

from .. import messages

_INTERVAL: Final = 60.0  # seconds between two lines about the same reason
_MAX_REASONS: Final = 100


class RejectionLog:
    """Logs the first occurrence of a reason, then at most one line a minute with a count."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[float, int]] = {}

    def add(self, reason: str, error: Exception | None = None, *, now: float | None = None) -> None:
        """Count what happened.

        Args:
            reason: a short text; more than a hundred different ones are counted together.
            error: a defect behind it, whose traceback is logged.
            now: seconds on a clock that does not jump; the monotonic clock where not given.
        """
        now = time.monotonic() if now is None else now
        if reason not in self._since:
            if len(self._since) >= _MAX_REASONS:
                reason = "other reasons"
            self._since.setdefault(reason, (-math.inf, 0))
        logged_at, unlogged = self._since[reason]
        if now - logged_at < _INTERVAL:
            self._since[reason] = logged_at, unlogged + 1
            return
        self._since[reason] = now, 0
        messages.logger.warning(messages.turned_away(reason, unlogged), exc_info=error)
