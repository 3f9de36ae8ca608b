"""A limit on the time of a piece of work, cheap enough for each request and each call of the inbox.

It is what ``anyio.move_on_after`` is, at a fifth of the price on asyncio: there, one timer watches all limits of the
event loop, and a limit that ends in time costs an entry in a dict. On trio it *is* a cancel scope.

On asyncio it cancels the task itself, as ``asyncio.timeout`` does, which a shielded cancel scope does not hold off. So
handlers, which may shield what they must finish, have a scope of their own instead.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Final, Protocol, Self

import anyio

_AGAIN: Final = 1.0  # seconds after which work that swallowed its cancellation is cancelled once more


class TimeLimit(Protocol):
    """Around work in one task: ``with time_limit(4) as limit: …``. Entered once.

    Attributes:
        deadline: on the clock of ``anyio.current_time()``.
        cancelled_caught: the work was cut off, because its time was up or by :meth:`cancel`.
    """

    @property
    def deadline(self) -> float: ...  # noqa: D102 - see above

    @property
    def cancelled_caught(self) -> bool: ...  # noqa: D102 - see above

    def cancel(self) -> None:
        """Cut the work off now."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None: ...


def time_limit(seconds: float | None) -> TimeLimit:
    """Return a limit for what the running task is about to do.

    Args:
        seconds: from now; None for a limit that only :meth:`TimeLimit.cancel` ends.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop of asyncio runs here
        task = None
    if task is None:
        return anyio.CancelScope(deadline=math.inf if seconds is None else anyio.current_time() + seconds)
    return _TaskLimit(task, seconds)


class _TaskLimit:
    """A limit on asyncio, by the task's own means: ``cancel`` and ``uncancel``, as ``asyncio.timeout`` does."""

    __slots__ = ("_calls", "_cancelling", "_open", "_task", "_watch", "cancelled_caught", "deadline", "due")

    def __init__(self, task: asyncio.Task[object], seconds: float | None) -> None:
        self._task = task
        self._watch = _watch_of(task.get_loop())
        self.deadline = math.inf if seconds is None else self._watch.loop.time() + seconds
        self.due = self.deadline
        self.cancelled_caught = False
        self._calls = 0
        self._open = False

    def cancel(self) -> None:
        """Cut the work off."""
        self._calls += 1
        if self._open:
            self._task.cancel()

    def __enter__(self) -> Self:
        self._open = True
        self._cancelling = self._task.cancelling()
        if self._calls:  # cancelled before it was entered
            self._task.cancel()
        if self.due < math.inf:
            self._watch.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._open = False
        if self.due < math.inf:
            self._watch.limits.pop(self, None)
        if not self._calls:
            return False
        others = self._task.cancelling()
        while self._task.cancelling() > self._cancelling and self._calls:
            others = self._task.uncancel()
            self._calls -= 1
        # Somebody else may have cancelled the task as well: then it is theirs to catch.
        if others <= self._cancelling and kind is asyncio.CancelledError:
            self.cancelled_caught = True
            return True
        return False


class _Watch:
    """The timer of one event loop: set for the earliest limit that it knew of when it was set."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.limits: dict[_TaskLimit, None] = {}
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def add(self, limit: _TaskLimit) -> None:
        """Watch a limit until it is left."""
        self.limits[limit] = None
        if limit.due < self._due:
            self._set(limit.due)

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_at(due, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        earliest = math.inf
        for limit in list(self.limits):
            if limit.due <= now:
                limit.due = now + _AGAIN
                limit.cancel()
            earliest = min(earliest, limit.due)
        self._timer, self._due = None, math.inf
        if earliest < math.inf:
            self._set(earliest)


_last: _Watch | None = None
_watches: dict[asyncio.AbstractEventLoop, _Watch] = {}


def _watch_of(loop: asyncio.AbstractEventLoop) -> _Watch:
    global _last
    watch = _last
    if watch is None or watch.loop is not loop:
        for other in [other for other in _watches if other.is_closed()]:
            del _watches[other]
        watch = _last = _watches.setdefault(loop, _Watch(loop))
    return watch
