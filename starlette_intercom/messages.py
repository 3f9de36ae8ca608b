"""What the library says to people in its log, each sentence in one place.

Lines name ids, topics and handlers; never a payload, a secret or a signature. What came from outside is shown with its
control characters escaped.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import Final

logger: Final = logging.getLogger("starlette_intercom")


NOT_STARTED: Final = (
    "Intercom was not started, because no lifespan event reached it. Use IntercomMiddleware around the app, or "
    "Starlette(lifespan=intercom.lifespan) for a mount, and let the server send lifespan events "
    "(uvicorn: --lifespan on)"
)
"""Why every notification is answered with 503."""


def fields(id: str, topic: str, *, handler: str | None = None, attempt: int | None = None) -> dict[str, object]:
    """Return the structured fields of a log record about a delivery, for ``extra``.

    Args:
        id: of the delivery.
        topic: of its notification.
        handler: the name of the handler that it is about.
        attempt: of the delivery.
    """
    every = {"delivery_id": id, "topic": topic, "handler": handler, "attempt": attempt}
    return {name: value for name, value in every.items() if value is not None}


def turned_away(reason: str, unlogged: int) -> str:
    """A request did not go its usual way; what happens often is counted and said once a minute."""
    more = f" (and {unlogged} times more since this was last said)" if unlogged else ""
    return f"Webhook request: {one_line(reason)}{more}."


REDACTED_TO_NOTHING: Final = (
    "not stored, since redact returned None: let it return the item that is to be stored, or {} for an empty one"
)
"""Why a notification is answered with 503 although it was redacted."""


def redact_raised(error: BaseException) -> str:
    """The user's function raised; the text of the error, and its traceback, could quote the payload."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"not stored, since redact raised {type(error).__name__} ({frame.f_code.co_filename}, line {line})"


def redacted_unusable(item: object, error: BaseException) -> str:
    """The user's function returned what is no JSON."""
    kind = type(item).__name__
    return f"not stored, since redact returned a {kind} that cannot be stored as JSON ({type(error).__name__})"


def unhandled(topic: str) -> str:
    """No handler takes this topic; said once per topic, with a stub to paste."""
    name = re.sub(r"\W+", "_", topic).strip("_") or "handle"
    return (
        f"No handler for the topic {topic!r}; it was answered with 200 and not stored. To handle it:\n\n"
        f"@intercom.on({topic!r})\n"
        f"async def {name}(notification: Notification) -> None:\n"
        f"    ...\n\n"
        f"Or end its subscription in Intercom's Developer Hub."
    )


def unknown_topic(pattern: str, suggestion: str | None) -> str:
    """A handler was registered for a topic that is not among the known ones."""
    hint = f": did you mean {suggestion!r}?" if suggestion else ", which may be newer than this release."
    return f"The topic {pattern!r} is not a known one{hint}"


def hook_failed(name: str) -> str:
    """A user's hook raised; nothing else is affected."""
    return f"The hook {name!r} raised an exception; the delivery goes on."


def observer_failed(name: str, step: str) -> str:
    """A user's observer raised; nothing else is affected."""
    return f"The observer {name!r} raised an exception at {step!r}; everything else goes on."


def memory_inbox() -> str:
    """Said at start-up: this inbox is not for production."""
    return (
        "The inbox is in memory: a crash loses every notification that is not handled yet, although it was answered "
        "with 200. Set inbox='sqlite:///intercom.db' to keep them."
    )


def memory_inbox_lost(count: int) -> str:
    """An inbox in memory was closed with work in it."""
    return f"The inbox in memory was closed with {count} unfinished deliveries; they are gone when the process ends."


def redis_unchecked() -> str:
    """The server does not tell how it is set up."""
    return (
        "Redis does not say how it is set up (INFO is forbidden). See to it that it has maxmemory-policy noeviction "
        "and appendonly yes: otherwise it may lose accepted notifications."
    )


def redis_evicts(policy: str) -> str:
    """The user has chosen to take this risk."""
    return f"Redis has maxmemory-policy {policy!r}: it throws accepted notifications away when memory runs short."


def redis_without_log() -> str:
    """The server keeps what it holds in memory, and perhaps in snapshots."""
    return (
        "Redis keeps no append-only file: if it crashes, accepted notifications are lost. Set appendonly yes "
        "(with appendfsync everysec a crash may cost the last second, with always nothing)."
    )


def attempt_failed(id: str, topic: str, handler: str, attempt: int, error: str) -> str:
    """A handler failed and will be tried again."""
    return f"Delivery {one_line(id)} ({topic!r}): handler {handler!r} failed in attempt {attempt}: {error}"


def no_handler_here(id: str, topic: str) -> str:
    """A delivery was claimed by a process that cannot handle it, as the old one of a rolling deploy."""
    return f"Delivery {one_line(id)} ({topic!r}) has no handler in this process."


def retrying(id: str, topic: str, after: float) -> str:
    """A delivery is scheduled for its next attempt."""
    return f"Delivery {one_line(id)} ({topic!r}) will be tried again in {after:.1f} s."


def buried(id: str, topic: str, handlers: tuple[str, ...], error: str) -> str:
    """A delivery became a dead letter."""
    return (
        f"Dead letter {one_line(id)} ({topic!r}), handler {one_line(', '.join(handlers)) or '(none)'}: {error}. "
        f"Replay it with: await intercom.dead_letters.replay({id!r})"
    )


def dead_letters_expired(count: int) -> str:
    """Dead letters were older than they may become."""
    return f"{count} dead letters were older than dead_letter_retention and were erased."


def lease_lost(id: str, topic: str) -> str:
    """A run was overtaken; what it did may be done again by another."""
    lost = "the lease was lost, so this run was stopped and another one owns it now"
    return f"Delivery {one_line(id)} ({topic!r}): {lost}."


def unreported(id: str, topic: str, error: BaseException) -> str:
    """What a run achieved could not be written down, so the delivery will be run again."""
    said = one_line(str(error))
    return f"Delivery {one_line(id)} ({topic!r}): its outcome could not be recorded ({said}); it will be run again."


def overdue(handler: str, timeout: float) -> str:
    """A plain function runs longer than its time-out; threads cannot be cancelled."""
    return f"Handler {handler!r} ran longer than its {timeout:g} s in its thread, which cannot be cancelled."


def abandoned(handler: str) -> str:
    """A plain function was still running when the drain's deadline passed."""
    return (
        f"Handler {handler!r} was still running in its thread when the drain ended; "
        "its delivery becomes free when its lease ends."
    )


def inbox_unreachable(error: BaseException) -> str:
    """The workers cannot reach the inbox; they keep trying."""
    return f"The inbox cannot be reached, trying again: {one_line(str(error))}"


def inbox_back() -> str:
    """The workers reach the inbox again."""
    return "The inbox is reachable again."


def worker_survived() -> str:
    """A defect of the library: logged so that it is seen, and the worker goes on."""
    return "A worker met an unexpected error and goes on; the delivery becomes free when its lease ends."


def broker_unreachable(error: BaseException) -> str:
    """The task engine is away; deliveries wait in the inbox, and this is tried again."""
    return f"The task broker cannot be reached, trying again: {type(error).__name__}"


def dispatching_again() -> str:
    """Inbox and task engine are both there again."""
    return "Deliveries are handed to the task broker again."


def drained(seconds: float, released: int) -> str:
    """The workers have stopped."""
    return f"Drained in {seconds:.1f} s; {released} deliveries were released for the next start."


def lifespan_unsupported() -> str:
    """The wrapped app takes no part in the lifespan protocol, which is fine."""
    return "The wrapped app does not take part in the lifespan protocol; Intercom runs it alone."


def one_line(text: str) -> str:
    """Escape what could break a log line apart."""
    return text.encode("unicode_escape").decode("ascii")
