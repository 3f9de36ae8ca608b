"""A limit on the time of a piece of work, cheap enough for each request and each call of the inbox.

It is what ``anyio.move_on_after`` is, at a fifth of the price on asyncio: there, one timer watches all limits of the
event loop, and a limit that ends in time costs an entry in a dict. On trio it *is* a cancel scope.

On asyncio it cancels the task itself, as ``asyncio.timeout`` does, which a shielded cancel scope does not hold off. So
handlers, which may shield what they must finish, have a scope of their own instead, and the watch cancels that.
"""

from __future__ import annotations

import asyncio
import math
import threading
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
    watch = _thread.watch
    # The task of a known loop is found in a dict; which loop is running, by a system call on Python 3.11.
    task = None if watch is None else asyncio.current_task(watch.loop)
    if watch is None or task is None:
        watch = _watch_of_running_loop()
        task = None if watch is None else asyncio.current_task(watch.loop)
        if watch is None or task is None:
            return anyio.CancelScope(deadline=math.inf if seconds is None else anyio.current_time() + seconds)
    return _TaskLimit(task, watch, seconds)


def scope_timer() -> ScopeTimer:
    """Return what ends cancel scopes when their time is up, for the event loop that is running."""
    return _watch_of_running_loop() or _Deadlines()


class ScopeTimer(Protocol):
    """Ends cancel scopes when their time is up."""

    def start(self, scope: anyio.CancelScope, seconds: float) -> object:
        """Cancel a scope in so many seconds, unless it is stopped before."""

    def stop(self, scope: anyio.CancelScope) -> None:
        """Leave a scope alone from now on; also one that was never started."""


class _Deadlines:
    """Has each scope look after its own deadline, which costs next to nothing on trio."""

    def start(self, scope: anyio.CancelScope, seconds: float) -> None:
        scope.deadline = anyio.current_time() + seconds

    def stop(self, scope: anyio.CancelScope) -> None:
        scope.deadline = math.inf


class _Cancellable(Protocol):
    def cancel(self) -> None: ...


class _Watch:
    """The one timer of an event loop of asyncio, set for the earliest limit that it knew of when it was set."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._limits: dict[_Cancellable, float] = {}
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def start(self, limit: _Cancellable, seconds: float) -> float:
        """Cancel ``limit`` when its time is up, and each second from then on; return when that is."""
        due = self._limits[limit] = self.loop.time() + seconds
        if due < self._due:
            self._set(due)
        return due

    def stop(self, limit: _Cancellable) -> None:
        self._limits.pop(limit, None)

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_at(due, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        for limit in [limit for limit, due in self._limits.items() if due <= now]:
            self._limits[limit] = now + _AGAIN
            limit.cancel()
        self._timer, self._due = None, math.inf
        earliest = min(self._limits.values(), default=math.inf)
        if earliest < math.inf:
            self._set(earliest)


class _Thread(threading.local):
    watch: _Watch | None = None  # of the event loop that ran last


_thread: Final = _Thread()


def _watch_of_running_loop() -> _Watch | None:
    """Return the watch of the event loop that runs in this thread; None where it is none of asyncio."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    watch = _thread.watch
    if watch is None or watch.loop is not loop:
        watch = _thread.watch = _Watch(loop)
    return watch


class _TaskLimit:
    """A limit on asyncio, by the task's own means: ``cancel`` and ``uncancel``, as ``asyncio.timeout`` does."""

    __slots__ = ("_calls", "_cancelling", "_open", "_seconds", "_task", "_watch", "cancelled_caught", "deadline")

    def __init__(self, task: asyncio.Task[object], watch: _Watch, seconds: float | None) -> None:
        self._task = task
        self._watch = watch
        self._seconds = seconds
        self.deadline = math.inf
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
        if self._seconds is not None:
            self.deadline = self._watch.start(self, self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._open = False
        if self._seconds is not None:
            self._watch.stop(self)
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
