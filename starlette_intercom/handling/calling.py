"""One call of one user's function: with its arguments, within its time, and with everything it may raise kept in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec

from .. import messages
from ..messages import logger
from .arguments import Sources
from .registry import Handler, Hook

THREADS: Final = 40
"""How many plain functions run at the same time, each in a thread."""


class Caller:
    """Calls handlers and hooks.

    One for each run of the event loop: it keeps the threads in which plain functions run.
    """

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(THREADS)
        self._running_threads: dict[anyio.CancelScope, str] = {}
        self._cancelled = anyio.get_cancelled_exc_class()

    async def call(self, handler: Handler, sources: Sources, scope: anyio.CancelScope) -> BaseException | None:
        """Run one attempt of a handler.

        Args:
            handler: what is run.
            sources: what it may ask for.
            scope: a new cancel scope; the attempt runs in it, so that whoever has it can stop the attempt.

        Returns:
            What the handler raised, or None. Only a cancellation from outside of ``scope`` comes out as an exception.
        """
        try:
            if handler.item is not None:
                typed = sources.notification.with_item(sources.notification.item_as(handler.item))
                sources = msgspec.structs.replace(sources, notification=typed)
            if handler.timeout is not None:
                scope.deadline = anyio.current_time() + handler.timeout
            with scope:
                if not handler.asynchronous:
                    await self._in_thread(handler, handler.arguments.bind(handler.function, sources))
                elif handler.arguments.notification_only:
                    await handler.function(sources.notification)
                else:
                    await handler.arguments.bind(handler.function, sources)()
        except KeyboardInterrupt:
            raise
        except self._cancelled as error:
            if _is_cancelled():
                raise
            return error  # the handler made it itself, for example by awaiting a task that was cancelled
        except BaseException as error:  # also SystemExit: nothing that a handler raises may end a worker
            return error
        if scope.cancelled_caught:
            return TimeoutError(f"Not finished within {handler.timeout:g} s")
        return None

    async def hear(self, hook: Hook, sources: Sources) -> None:
        """Call a hook; what it raises is logged."""
        try:
            call = hook.arguments.bind(hook.function, sources)
            if hook.asynchronous:
                await call()
            else:
                await anyio.to_thread.run_sync(call, limiter=self._threads)
        except Exception:
            logger.exception(messages.hook_failed(hook.name))

    def abandon_threads(self) -> None:
        """Stop waiting for plain functions that are still running; the threads themselves cannot be stopped."""
        for scope, name in self._running_threads.items():
            logger.warning(messages.abandoned(name))
            scope.cancel()

    async def _in_thread(self, handler: Handler, call: Callable[[], Any]) -> None:
        began = anyio.current_time()
        # Shielded: a time-out cannot end the thread, so the attempt lasts until the function returns.
        with anyio.CancelScope(shield=True) as waiting:
            self._running_threads[waiting] = handler.name
            try:
                await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)
            finally:
                del self._running_threads[waiting]
        if waiting.cancelled_caught:
            raise Abandoned
        if handler.timeout is not None and anyio.current_time() - began > handler.timeout:
            logger.warning(messages.overdue(handler.name, handler.timeout))


class Abandoned(Exception):
    """Nobody waits for this thread any more; whether it will succeed is not known."""


def _is_cancelled() -> bool:
    return anyio.current_effective_deadline() == float("-inf")
