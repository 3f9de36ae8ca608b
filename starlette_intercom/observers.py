"""Who hears of steps: the protocol for users, and how all of them are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol, runtime_checkable

from . import messages
from .errors import ConfigurationError
from .messages import logger
from .steps import Step


class Observer(Protocol):
    """Hears of every step: ``Intercom(…, observers=[…])``.

    What it raises is logged and changes nothing. Requests and handlers wait for it: it must not block.
    """

    def observe(self, step: Step, /) -> None:
        """Take note of a step."""


@runtime_checkable
class Tracer(Observer, Protocol):
    """An observer whose traces go on where a delivery is handled, in whichever process that is."""

    def traceparent(self) -> str | None:
        """Return the W3C ``traceparent`` of what the current task is doing; asked before a delivery is accepted.

        It is kept in the inbox, and comes back in :class:`~starlette_intercom.Started`.
        """


class Observers:
    """The observers of an ``Intercom``: true where there are any, so that without them nothing is made and timed.

    Args:
        observers: in the order in which they are told.

    Raises:
        ConfigurationError: one of them has no method ``observe``.
    """

    __slots__ = ("_observers",)

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        if not isinstance(observers, Iterable):
            raise ConfigurationError("observers takes a sequence: observers=[observer].")
        self._observers = tuple(observers)
        for observer in self._observers:
            if isinstance(observer, type) or not callable(getattr(observer, "observe", None)):
                raise ConfigurationError(f"{observer!r} is no observer: give an object with a method observe(step).")

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, step: Step) -> None:
        """Tell every observer, whatever the others do."""
        for observer in self._observers:
            try:
                observer.observe(step)
            except KeyboardInterrupt:
                raise
            except BaseException:  # as with hooks: nothing that an observer raises may end a worker or a request
                logger.exception(messages.observer_failed(type(observer).__name__, type(step).__name__))

    def traceparent(self) -> str | None:
        """Ask the observers for the current trace; the first that has one decides."""
        for observer in self._observers:
            if isinstance(observer, Tracer):
                try:
                    trace = observer.traceparent()
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    logger.exception(messages.observer_failed(type(observer).__name__, "traceparent"))
                else:
                    if trace is not None:
                        return trace
        return None


NOBODY: Final = Observers()
"""No observers."""
