"""How another thread hands results back to the event loop, on asyncio and on trio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import trio


class Waiter(Protocol):
    """Something that one task awaits once, and that the event loop's thread sets."""

    def __await__(self) -> Generator[Any, Any, None]: ...

    def done(self) -> bool:
        """Return whether it was set, or its task was cancelled while it waited."""
        ...

    def set_result(self, result: None, /) -> None:
        """Let the task go on."""
        ...


class EventLoop(Protocol):
    """The running event loop."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the event loop's thread; may be used from any thread.

        Raises:
            RuntimeError: the event loop has ended.
        """
        ...

    def call_next(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the event loop goes round the next time; only in its thread."""
        ...

    def new_waiter(self) -> Waiter:
        """Return a new waiter; only in the event loop's thread."""
        ...


class _AsyncioLoop:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(callback)

    def call_next(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def new_waiter(self) -> Waiter:
        return self._loop.create_future()


class _TrioWaiter:
    __slots__ = ("_event",)

    def __init__(self, event: trio.Event) -> None:
        self._event = event

    def __await__(self) -> Generator[Any, Any, None]:
        return self._event.wait().__await__()

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, _result: None, /) -> None:
        self._event.set()


class _TrioLoop:
    def __init__(self) -> None:
        self._trio = sys.modules["trio"]  # it runs us, so it is imported
        self._token: trio.lowlevel.TrioToken = self._trio.lowlevel.current_trio_token()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._token.run_sync_soon(callback)

    def call_next(self, callback: Callable[[], None]) -> None:
        self._token.run_sync_soon(callback)

    def new_waiter(self) -> Waiter:
        return _TrioWaiter(self._trio.Event())


def running_loop() -> EventLoop:
    """Return the event loop that runs this task."""
    if "trio" in sys.modules:
        with suppress(RuntimeError):  # imported, but not what runs us
            return _TrioLoop()
    return _AsyncioLoop()
