"""When a SQLite inbox writes: once everybody who could come has come, so that many share one commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .event_loop import EventLoop

# Rounds of the event loop in which nothing came: in the first, what had arrived before may still be on its way to us.
_QUIET: Final = 2

# Seconds after which a busy event loop is not waited for any longer.
_LONGEST: Final = 0.01


class Gathering:
    """Waits until no more operations come for now. Used only on the event loop.

    Where the event loop has gone round and nothing came, everything that it could do without an answer from the disk is
    done. To write sooner would cost a commit for a part of what can share one; to write later would hold everybody up.

    Args:
        loop: the event loop.
        gathered: called when it is time to write; nothing is waited for until :meth:`written`.
        clock: seconds that never go back.
    """

    def __init__(self, loop: EventLoop, gathered: Callable[[], None], clock: Callable[[], float]) -> None:
        self._loop = loop
        self._gathered = gathered
        self._clock = clock
        self._since: float | None = None  # when the first came of those that are waited for
        self._quiet = 0
        self._writing = False

    def came(self) -> None:
        """An operation waits to be written."""
        self._quiet = 0
        if self._since is None and not self._writing:
            self._since = self._clock()
            self._loop.call_next(self._look)

    def written(self, *, more: bool) -> None:
        """It is written, and ``more`` may have come meanwhile, or have been too much for one transaction."""
        self._writing = False
        if more:
            self.came()

    def _look(self) -> None:
        self._quiet += 1
        if self._quiet <= _QUIET and self._since is not None and self._clock() < self._since + _LONGEST:
            self._loop.call_next(self._look)
        else:
            self._since = None
            self._writing = True
            self._gathered()
