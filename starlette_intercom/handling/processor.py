"""The processor: claims deliveries, runs their handlers, and records what became of each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import anyio
import anyio.lowlevel

from .. import messages
from ..errors import LeaseLost, Retry
from ..inbox.contract import Delivery, Failure, Inbox
from ..messages import logger
from ..notification import VerifiedNotification
from ..observers import NOBODY, Observers
from ..steps import Buried, Crashed, Retried
from .arguments import Services, Sources
from .calling import Abandoned, Caller
from .failures import (
    PROCESS_DIED,
    added,
    culprit,
    died,
    failure_of,
    is_spent,
    is_suspect,
    missed,
    no_handler,
    still_due,
)
from .leases import LEASE, Leases
from .registry import RETRIES, Handler, HandlerRegistry
from .run import Run, observed
from .schedule import Backoff

_RELEASE_TIME: Final = 2.0  # seconds to give a delivery back once its run was cut off
_LARGE: Final = 2**19  # bytes of a notification whose item may take tens of milliseconds to decode
_TURNS: Final = 5  # of the event loop: what a server needs to take a connection, read a request, and answer it


class Processor:
    """What a runner works with: it hands out runs and carries them through. Made anew for each start.

    Args:
        inbox: where deliveries are.
        registry: the handlers.
        services: what handlers may ask for beside their delivery.
        lease: seconds for which a claim holds unless it is renewed.
        clock: Unix time in seconds.
        chance: random numbers from 0 to 1, for the jitter of retries.
        observers: hear what becomes of deliveries.
    """

    def __init__(
        self,
        inbox: Inbox,
        registry: HandlerRegistry,
        services: Services,
        *,
        lease: float = LEASE,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        observers: Observers = NOBODY,
    ) -> None:
        self.inbox = inbox
        self.registry = registry
        self._services = services
        self._leases = Leases(inbox, lease)
        self._clock = clock
        self._chance = chance
        self._observers = observers
        self._observed = bool(observers)
        self._caller = Caller()
        self._cancelled = anyio.get_cancelled_exc_class()
        self._apart = anyio.Lock()  # held by the one suspect that runs
        self._turnstile = anyio.Lock()

    async def claim(self, limit: int, *, ids: Sequence[str] | None = None) -> Sequence[Run]:
        """Take up to ``limit`` deliveries that are ready; each must be processed or released.

        While the inbox cannot be reached this pauses for a moment and returns nothing.
        """
        return await self._leases.claim(limit, ids)

    async def wait(self, timeout: float, *, limit: int = 0) -> Sequence[Run]:
        """Return when a claim may find something, at the latest after ``timeout`` seconds, whatever the inbox does.

        Args:
            timeout: seconds.
            limit: take up to so many deliveries where the inbox gives what comes in to whoever waits for it.

        Returns:
            What was taken on the way: mostly nothing, so claim then. Each must be processed or released.
        """
        return await self._leases.wait(timeout, limit=limit)

    async def process(self, run: Run) -> None:
        """Run the handlers that have not succeeded yet, in order, and record the outcome.

        Nothing that a handler does comes out of this; a cancellation releases the delivery and goes on.
        """
        over = False
        while not over:
            with anyio.CancelScope() as scope:
                over = await self.advance(run, scope)

    async def advance(self, run: Run, scope: anyio.CancelScope) -> bool:
        """Do the same in a scope that serves many runs, one after the other: entering one costs as much as a handler.

        Args:
            run: what is processed.
            scope: the innermost scope of this task.

        Returns:
            It is over. Otherwise a handler was stopped, which has used up the scope: go on in a new one.
        """
        delivery = run.claim.delivery
        over = True
        try:
            if run.recovered:
                run.recovered = False
                await self._blame(run)
            if run.failures and is_suspect(run.failures, attempt=delivery.attempt):
                async with self._apart:
                    over = await self._advance(run, scope, apart=True)
            else:
                over = await self._advance(run, scope)
        except LeaseLost:
            logger.warning(messages.lease_lost(delivery.id, delivery.topic), extra=_fields(delivery))
        except self._cancelled:
            await self.release(run)
            raise
        finally:
            if over:
                self._leases.drop(run)
        return over

    async def release(self, run: Run) -> None:
        """Give a delivery back, also while being cancelled.

        As if this attempt had not been made, unless a handler has failed in it: that one is to wait for its time.
        """
        claim, delivery, done, failures = run.claim, run.claim.delivery, run.done, run.failures
        self._leases.drop(run)
        with anyio.move_on_after(_RELEASE_TIME, shield=True):
            try:
                if any(failure.attempt == delivery.attempt for failure in failures):
                    await self.inbox.retry(claim, after=run.after, done=done, failures=failures)
                    self._tell_retried(delivery, run.after)
                else:
                    await self.inbox.release(claim, done=done, failures=failures)
            except Exception as error:
                logger.warning(messages.unreported(delivery.id, delivery.topic, error), extra=_fields(delivery))

    async def keep_leases(self) -> None:
        """Renew the leases of everything that was claimed here, until cancelled; runs beside the workers."""
        await self._leases.keep()

    def abandon_threads(self) -> None:
        """Stop waiting for plain functions; their deliveries become free when their leases end."""
        self._caller.abandon_threads()

    async def unhandled(self, notification: VerifiedNotification) -> None:
        """Call the hooks for a notification that no handler takes."""
        sources = Sources(notification=notification, services=self._services)
        for hook in self.registry.unhandled_hooks:
            await self._caller.hear(hook, sources)

    async def _advance(self, run: Run, scope: anyio.CancelScope, *, apart: bool = False) -> bool:
        claim, attempt = run.claim, run.claim.delivery.attempt
        handlers = self.registry.handlers_for(claim.delivery.topic)
        if run.ended is not None:
            (handler, error), run.ended = run.ended, None
            await self._settle(run, handler, error)
        for handler in still_due(handlers, run.done, run.failures, attempt=attempt):
            if len(claim.notification.raw) > _LARGE:
                await self._let_others_go_on()
            if run.lost:
                raise LeaseLost
            if apart:  # held against this handler in advance, in case the process does not live to tell
                ahead = added(run.failures, died(handler.name, attempt=attempt, now=self._clock()))
                await self._leases.record(run, partial(self.inbox.mark, claim, done=run.done, failures=ahead))
            elif run.unwritten:
                await self._leases.record(run, lambda: self.inbox.mark(claim, done=run.done, failures=run.failures))
            sources = Sources(notification=claim.notification.fresh(), delivery=claim.delivery, services=self._services)
            run.scope = scope
            call = self._caller.call(handler, sources, scope)
            if self._observed:
                call = observed(call, self._observers, run, handler.name, now=self._clock())
            error = await call
            run.scope = None
            if isinstance(error, Abandoned):
                return True
            if run.lost:
                raise LeaseLost
            if scope.cancel_called:
                run.ended = handler, error
                return False
            await self._settle(run, handler, error)
        left = [handler for handler in handlers if handler.name not in run.done]
        if left or not handlers:
            await self._conclude(run, left)
        else:
            await self._leases.record(run, partial(self.inbox.complete, claim))
        return True

    async def _let_others_go_on(self) -> None:
        """Wait until requests had time to be answered: a large item may take long to decode, and many such for ever."""
        async with self._turnstile:  # one after the other
            for _ in range(_TURNS):
                await anyio.lowlevel.checkpoint()

    async def _conclude(self, run: Run, left: Sequence[Handler]) -> None:
        """Record what becomes of a delivery that is not completed."""
        claim, delivery = run.claim, run.claim.delivery
        again = any(not is_spent(handler, run.failures) for handler in left) if left else self._missed(run)
        if again:
            after = run.after
            logger.info(messages.retrying(delivery.id, delivery.topic, after), extra=_fields(delivery))
            await self._leases.record(
                run, lambda: self.inbox.retry(claim, after=after, done=run.done, failures=run.failures)
            )
            self._tell_retried(delivery, after)
            return
        names = tuple(handler.name for handler in left)
        await self._leases.record(
            run, lambda: self.inbox.bury(claim, handlers=names, done=run.done, failures=run.failures)
        )
        why = _what_happened(run.failures[-1])
        logger.error(messages.buried(delivery.id, delivery.topic, names, why), extra=_fields(delivery))
        if self._observed:
            self._observers.tell(Buried(id=delivery.id, topic=delivery.topic, handlers=names))

    def _missed(self, run: Run) -> bool:
        """Remember that there is no handler here, and tell whether to wait for a process that has one.

        While a new version is rolled out, the old one may claim what only the new one handles.
        """
        delivery = run.claim.delivery
        failure = no_handler(delivery.topic, attempt=delivery.attempt, now=self._clock())
        run.failures = added(run.failures, failure)
        logger.warning(messages.no_handler_here(delivery.id, delivery.topic), extra=_fields(delivery))
        count = missed(run.failures)
        run.after = Backoff().delay(count, self._chance())
        return count <= RETRIES

    async def _settle(self, run: Run, handler: Handler, error: BaseException | None) -> None:
        """Remember how a handler ended; after a failure also how long it is to wait, and tell the hooks."""
        run.unwritten = True
        if error is None:
            run.done |= {handler.name}
            return
        failure = failure_of(error, handler=handler.name, attempt=run.claim.delivery.attempt, now=self._clock())
        run.failures = added(run.failures, failure)
        if not is_spent(handler, run.failures):
            after = error.after if isinstance(error, Retry) else None
            if after is None:
                count = sum(failure.handler == handler.name for failure in run.failures)
                after = handler.backoff.delay(count, self._chance())
            run.after = max(run.after, after)
        await self._tell(run, failure, error)

    async def _blame(self, run: Run) -> None:
        """Count the attempt that never reported against the handler that was running in it.

        Written down before anything else is run, so that a handler which kills its process each time runs out.
        """
        attempt = run.claim.delivery.attempt - 1
        if is_suspect(run.failures, attempt=attempt):  # then it was written down before the handler was started
            for failure in run.failures:
                if failure.attempt == attempt and failure.error == PROCESS_DIED:
                    await self._tell(run, failure, None)
            return
        handlers = self.registry.handlers_for(run.claim.delivery.topic)
        left = [handler for handler in handlers if handler.name not in run.done]
        handler = culprit(left, run.failures, attempt=attempt)
        if handler is not None:
            failure = died(handler.name, attempt=attempt, now=self._clock())
            run.failures = added(run.failures, failure)
            await self._leases.record(run, lambda: self.inbox.mark(run.claim, done=run.done, failures=run.failures))
            await self._tell(run, failure, None)

    async def _tell(self, run: Run, failure: Failure, error: BaseException | None) -> None:
        delivery = run.claim.delivery
        topic, handler, attempt = delivery.topic, failure.handler, failure.attempt
        logger.warning(
            messages.attempt_failed(delivery.id, topic, handler, attempt, _what_happened(failure)),
            extra=messages.fields(delivery.id, topic, handler=handler, attempt=attempt),
        )
        if error is None and self._observed:
            self._observers.tell(Crashed(id=delivery.id, topic=topic, handler=handler, attempt=attempt))
        hooks = self.registry.error_hooks
        if hooks:
            sources = Sources(
                notification=run.claim.notification.fresh(),
                delivery=delivery,
                error=error,
                failure=failure,
                services=self._services,
            )
            for hook in hooks:
                await self._caller.hear(hook, sources)

    def _tell_retried(self, delivery: Delivery, after: float) -> None:
        if self._observed:
            self._observers.tell(Retried(id=delivery.id, topic=delivery.topic, after=after))


def _fields(delivery: Delivery) -> dict[str, object]:
    return messages.fields(delivery.id, delivery.topic, attempt=delivery.attempt)


def _what_happened(failure: Failure) -> str:
    return messages.one_line(f"{failure.error}: {failure.message}")
