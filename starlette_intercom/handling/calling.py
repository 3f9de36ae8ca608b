"""One call of one user's function: with its arguments, within its time, and with everything it may raise kept in."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec

from .. import messages
from ..messages import logger
from ..time_limit import scope_timer
from .arguments import Sources
from .registry import Handler, Hook

THREADS: Final = 40
"""How many plain functions run at the same time, each in a thread."""

HOOK_TIME: Final = 60.0
"""Seconds that a hook may take."""


class Caller:
    """Calls handlers and hooks.

    One for each run of the event loop: it keeps the threads in which plain functions run.
    """

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(THREADS)
        self._running_threads: dict[anyio.CancelScope, str] = {}
        self._cancelled = anyio.get_cancelled_exc_class()
        self._timer = scope_timer()

    async def call(self, handler: Handler, sources: Sources, scope: anyio.CancelScope) -> BaseException | None:
        """Run one attempt of a handler.

        Args:
            handler: what is run.
            sources: what it may ask for.
            scope: the cancel scope in which this runs, so that whoever has it can stop the attempt. When it was
                cancelled, also because the handler's time was up, nothing more can be done in it.

        Returns:
            What the handler raised, or None.

        Raises:
            BaseException: only a cancellation from outside of ``scope``; and ``KeyboardInterrupt``, which tells the
                whole process to end: the delivery is run again when its lease has ended.
        """
        try:
            if handler.item is not None:
                typed = sources.notification.with_item(sources.notification.item_as(handler.item))
                sources = msgspec.structs.replace(sources, notification=typed)
            if handler.timeout is not None:
                self._timer.start(scope, handler.timeout)
            if not handler.asynchronous:
                result = await self._in_thread(handler, handler.arguments.bind(handler.function, sources))
                if inspect.isawaitable(result):  # a plain function around an asynchronous one
                    await result
            elif handler.arguments.notification_only:
                await handler.function(sources.notification)
            else:
                await handler.arguments.bind(handler.function, sources)()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit: nothing that a handler raises may end a worker
            if scope.cancel_called:
                return _without(self._cancelled, error) or _stopped(handler)
            if isinstance(error, self._cancelled) and _is_cancelled():
                raise
            return error  # or a cancellation that the handler made itself, say by awaiting a task that was cancelled
        finally:
            if handler.timeout is not None:
                self._timer.stop(scope)
        return None

    async def hear(self, hook: Hook, sources: Sources) -> None:
        """Call a hook; what it raises is logged, and after a minute nobody waits for it."""
        try:
            with anyio.fail_after(HOOK_TIME):
                call = hook.arguments.bind(hook.function, sources)
                if hook.asynchronous:
                    await call()
                else:
                    result = await self._threaded(call)
                    if inspect.isawaitable(result):
                        await result
        except KeyboardInterrupt:
            raise
        except self._cancelled:
            if _is_cancelled():
                raise
            logger.exception(messages.hook_failed(hook.name), extra=_fields(sources))
        except BaseException:  # as with handlers: nothing that a hook raises may end a worker or a request
            logger.exception(messages.hook_failed(hook.name), extra=_fields(sources))

    def abandon_threads(self) -> None:
        """Stop waiting for plain functions that are still running; the threads themselves cannot be stopped."""
        for scope, name in self._running_threads.items():
            logger.warning(messages.abandoned(name), extra={"handler": name})
            scope.cancel()

    async def _in_thread(self, handler: Handler, call: Callable[[], Any]) -> Any:
        await anyio.lowlevel.checkpoint_if_cancelled()  # the last chance: nothing gets through the shield
        began = anyio.current_time()
        # Shielded: a time-out cannot end the thread, so the attempt lasts until the function returns.
        with anyio.CancelScope(shield=True) as waiting:
            self._running_threads[waiting] = handler.name
            try:
                result = await self._threaded(call)
            finally:
                del self._running_threads[waiting]
        if waiting.cancelled_caught:
            raise Abandoned
        if handler.timeout is not None and anyio.current_time() - began > handler.timeout:
            logger.warning(messages.overdue(handler.name, handler.timeout), extra={"handler": handler.name})
        return result

    async def _threaded(self, call: Callable[[], Any]) -> Any:
        result, error = await anyio.to_thread.run_sync(_outcome_of, call, abandon_on_cancel=True, limiter=self._threads)
        if error is not None:
            raise error
        return result


class Abandoned(Exception):
    """Nobody waits for this thread any more; whether it will succeed is not known."""


def _outcome_of(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Keep in what a call raises: a ``GeneratorExit`` from a thread would close the coroutine that waits for it."""
    try:
        return call(), None
    except BaseException as error:
        return None, error


def _fields(sources: Sources) -> dict[str, object]:
    delivery = sources.delivery
    if delivery is None:
        return {"topic": sources.notification.topic}
    return messages.fields(delivery.id, delivery.topic, attempt=delivery.attempt)


def _without(kind: type[BaseException], error: BaseException) -> BaseException | None:
    """Return what is left of an error without those of a kind, also where they are in a group."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(kind)[1]
    return None if isinstance(error, kind) else error


def _stopped(handler: Handler) -> TimeoutError:
    # Without a time-out it was cancelled from outside; whoever did that knows better than this error.
    return TimeoutError("Stopped" if handler.timeout is None else f"Not finished within {handler.timeout:g} s")


def _is_cancelled() -> bool:
    return anyio.current_effective_deadline() == float("-inf")
