"""What is remembered of failed attempts, and what follows from it. Pure: values in, values out."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Final

import msgspec

from ..errors import InvalidNotification, Reject
from ..inbox.contract import Failure
from .registry import Handler

PROCESS_DIED: Final = "ProcessDied"
NO_HANDLER: Final = "NoHandler"
_REFUSALS: Final = (Reject, InvalidNotification)
_FINAL: Final = frozenset(kind.__name__ for kind in _REFUSALS)

_MAX_MESSAGE: Final = 500  # characters
_MAX_TRACEBACK: Final = 4000  # characters, the end of it: that is where it was raised
_MAX_TRACEBACKS: Final = 3  # of one delivery, the latest


def failure_of(error: BaseException, *, handler: str, attempt: int, now: float) -> Failure:
    """Describe an exception, bounded and without the values of local variables."""
    lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-12)
    return Failure(
        handler=handler,
        attempt=attempt,
        at=now,
        error=type_name(error),
        message=_storable(_text_of(error)[:_MAX_MESSAGE]),
        traceback=_storable("".join(lines)[-_MAX_TRACEBACK:]),
    )


def died(handler: str, *, attempt: int, now: float) -> Failure:
    """Describe an attempt that never reported."""
    message = "The attempt never reported: its process was killed, or stopped for longer than the lease"
    return Failure(handler=handler, attempt=attempt, at=now, error=PROCESS_DIED, message=message)


def is_suspect(failures: Sequence[Failure], *, attempt: int) -> bool:
    """Tell whether a delivery may be what kills its processes, before an attempt of it.

    One attempt without a report is what any kill leaves behind. After two, it could be this delivery, or another one
    that ran beside it each time; only running it apart from others of the kind can tell.
    """
    return sum(failure.error == PROCESS_DIED and failure.attempt < attempt for failure in failures) >= 2


def no_handler(topic: str, *, attempt: int, now: float) -> Failure:
    """Describe an attempt in a process that has no handler for it: the code has changed, or is changing."""
    message = f"No handler is registered for {topic!r} in this process"
    return Failure(handler="", attempt=attempt, at=now, error=NO_HANDLER, message=message)


def missed(failures: Sequence[Failure]) -> int:
    """Count the attempts in processes without a handler; they are held against no handler."""
    return sum(failure.error == NO_HANDLER for failure in failures)


def added(failures: tuple[Failure, ...], failure: Failure) -> tuple[Failure, ...]:
    """Append a failure; only the latest few keep their tracebacks."""
    every = [*failures, failure]
    if len(every) > _MAX_TRACEBACKS:
        every[-_MAX_TRACEBACKS - 1] = msgspec.structs.replace(every[-_MAX_TRACEBACKS - 1], traceback="")
    return tuple(every)


def is_spent(handler: Handler, failures: Sequence[Failure]) -> bool:
    """Tell whether a handler has failed for good: refused, or out of attempts."""
    own = [failure for failure in failures if failure.handler == handler.name]
    return len(own) >= handler.attempts or any(failure.error in _FINAL for failure in own)


def still_due(
    handlers: Sequence[Handler], done: frozenset[str], failures: Sequence[Failure], *, attempt: int
) -> Sequence[Handler]:
    """Return the handlers that are to run in an attempt: neither done nor spent, and not run in it already."""
    if not done and not failures:
        return handlers
    out = {failure.handler for failure in failures if failure.attempt == attempt} | done
    return [handler for handler in handlers if handler.name not in out and not is_spent(handler, failures)]


def culprit(handlers: Sequence[Handler], failures: Sequence[Failure], *, attempt: int) -> Handler | None:
    """Return the handler that was running when an attempt ended without a report.

    Handlers run in order, and each failure is written down before the next handler starts; so it is the first one
    that was due in that attempt and left no trace.

    Args:
        handlers: those that have not succeeded, in the order in which they run.
        failures: what is known.
        attempt: the one that never reported.
    """
    reported = {failure.handler for failure in failures if failure.attempt == attempt}
    due = (handler for handler in handlers if not is_spent(handler, failures) and handler.name not in reported)
    return next(due, None)


def type_name(error: BaseException) -> str:
    """Return the name under which a failure with this exception is remembered."""
    for refusal in _REFUSALS:  # also what a user derives from them: it is by this name that a failure is final
        if isinstance(error, refusal):
            return refusal.__name__
    kind = type(error)
    if kind.__module__ == "builtins" or kind.__module__.startswith("starlette_intercom."):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # a user's exception whose __str__ fails must still be remembered
        return f"(its text could not be read: {type(broken).__name__})"


def _storable(text: str) -> str:
    """Escape lone surrogates, which names of files may bring and no inbox could encode."""
    return text.encode("utf-8", "backslashreplace").decode()
