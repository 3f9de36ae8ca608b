"""One claimed delivery on its way through its handlers, and what observers hear of each handler's run."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypedDict

import anyio

from ..inbox.contract import Claim
from ..observers import Observers
from ..steps import Failed, Interrupted, Started, Step, Succeeded
from .calling import Abandoned
from .failures import type_name
from .registry import Handler


class Run:
    """One claimed delivery on its way through its handlers; made by :meth:`Processor.claim`."""

    __slots__ = ("after", "claim", "done", "ended", "failures", "lost", "recovered", "scope", "unwritten")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.done = claim.done
        self.failures = claim.failures
        self.after = 0.0  # seconds that the next attempt has to wait: no handler is run sooner than it asked for
        self.recovered = claim.recovered
        self.unwritten = False  # a handler has ended, and the inbox does not know yet
        self.lost = False
        self.scope: anyio.CancelScope | None = None  # while a handler runs in it
        self.ended: tuple[Handler, BaseException | None] | None = None  # of the handler whose scope was cancelled

    def lose(self) -> None:
        """Stop: the lease is gone, and with it the right to record anything."""
        self.lost = True
        if self.scope is not None:
            self.scope.cancel()


async def observed(
    call: Awaitable[BaseException | None], observers: Observers, run: Run, handler: str, *, now: float
) -> BaseException | None:
    """Tell the observers when a handler starts, run it, and tell them how it ended: once, whatever happens.

    Args:
        call: the handler's run, which has not begun; gives what the handler raised.
        observers: who is told.
        run: of the delivery.
        handler: the handler's name.
        now: Unix time in seconds.

    Returns:
        What the call gave.
    """
    delivery, trace = run.claim.delivery, run.claim.trace
    waited = max(0.0, now - delivery.first_seen)  # the clocks of two hosts may differ
    common = _Common(id=delivery.id, topic=delivery.topic, handler=handler, attempt=delivery.attempt)
    observers.tell(Started(**common, waited=waited, trace=trace))
    began = anyio.current_time()
    error: BaseException | None = Abandoned()  # until it is known: a cancellation comes out of the call
    try:
        error = await call
    finally:
        seconds = anyio.current_time() - began
        ended: Step
        if run.lost or isinstance(error, Abandoned):
            ended = Interrupted(**common, seconds=seconds)
        elif error is None:
            ended = Succeeded(**common, seconds=seconds)
        else:
            ended = Failed(**common, seconds=seconds, error=type_name(error))
        observers.tell(ended)
    return error


class _Common(TypedDict):
    """What all steps of a run have."""

    id: str
    topic: str
    handler: str
    attempt: int
