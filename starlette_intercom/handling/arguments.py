"""What a handler asks for by the annotations of its parameters, checked when it is registered."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import msgspec

from ..errors import ConfigurationError
from ..inbox.contract import Delivery, Failure
from ..notification import Notification

Function: TypeAlias = Callable[..., Any]


class Sources(msgspec.Struct, gc=False):
    """Where arguments come from, for one call.

    ``intercom`` and ``events`` are the objects that a handler asks for by the types ``Intercom`` and ``EventsClient``;
    those types name their source in an attribute ``handler_argument``, so that this package need not import them.
    """

    notification: Notification[Any]
    services: Services
    delivery: Delivery | None = None
    error: BaseException | None = None
    failure: Failure | None = None

    @property
    def intercom(self) -> object:
        """The ``Intercom`` itself."""
        return self.services

    @property
    def events(self) -> object:
        """Its events client."""
        return self.services.events


class Services(typing.Protocol):
    """What ``Intercom`` looks like from here."""

    @property
    def events(self) -> object:
        """Its events client; raises where there is no access token."""


_BY_TYPE_NAME = {
    "Notification": "notification",
    "Delivery": "delivery",
    "Failure": "failure",
    "Exception": "error",
    "Intercom": "intercom",
    "EventsClient": "events",
}


class Arguments:
    """How to call a function: which source fills which parameter.

    A parameter with an annotation gets what it asks for. One without is filled by its name (``delivery``), or else
    from ``order``. Parameters with a default are left alone where nothing fits.

    Args:
        function: what is called.
        offered: the sources that exist for this kind of function.
        order: what parameters without annotation and with any name get, first to last.

    Raises:
        ConfigurationError: a parameter cannot be filled.
    """

    __slots__ = ("_named", "_positional", "item_hint", "notification_only")

    def __init__(self, function: Function, *, offered: tuple[str, ...], order: tuple[str, ...]) -> None:
        positional: list[str] = []
        named: list[tuple[str, str]] = []
        hints = _hints_of(function)
        rest = list(order)
        by_name = False
        self.item_hint: object = None  # `Contact` of `Notification[Contact]`
        for parameter in _parameters_of(function):
            source = _source_of(parameter.name, hints.get(parameter.name, parameter.annotation), offered, rest)
            if source is None:
                if parameter.default is parameter.empty:
                    raise ConfigurationError(_cannot_fill(function, parameter, offered))
                by_name = True
                continue
            if source in rest:
                rest.remove(source)
            if by_name or parameter.kind is parameter.KEYWORD_ONLY:
                named.append((parameter.name, source))
            else:
                positional.append(source)
            if source == "notification":
                self.item_hint = _item_hint(hints.get(parameter.name))
        self._positional = tuple(positional)
        self._named = tuple(named)
        self.notification_only = positional == ["notification"] and not named

    def bind(self, function: Function, sources: Sources) -> Callable[[], Any]:
        """Return the call, ready to be made."""
        positional = [getattr(sources, source) for source in self._positional]
        named = {name: getattr(sources, source) for name, source in self._named}
        return partial(function, *positional, **named)


def _item_hint(hint: Any) -> object:
    arguments = typing.get_args(hint)
    kind = typing.get_origin(hint)
    return arguments[0] if isinstance(kind, type) and issubclass(kind, Notification) else None


def is_asynchronous(function: Function) -> bool:
    """Tell whether calling a function, or an object with ``__call__``, gives something to await."""
    function = _unwrapped(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def refuse_generator(function: Function) -> None:
    """Refuse what contains ``yield``: calling it would run nothing, and pass for success.

    Raises:
        ConfigurationError: it is a generator function, asynchronous or not.
    """
    function = _unwrapped(function)
    for candidate in (function, getattr(function, "__call__", None)):  # noqa: B004
        if inspect.isgeneratorfunction(candidate) or inspect.isasyncgenfunction(candidate):
            raise ConfigurationError(f"{name_of(function)} contains 'yield', so calling it would not run it.")


def name_of(function: Function) -> str:
    """Return what a function is called: its module and its qualified name."""
    function = _unwrapped(function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _unwrapped(function: Function) -> Function:
    while isinstance(function, partial):
        function = function.func
    return function


def _parameters_of(function: Function) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built in, without a signature: give it the notification
        return [inspect.Parameter("notification", inspect.Parameter.POSITIONAL_ONLY)]
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    given = function.keywords if isinstance(function, partial) else {}
    return [parameter for parameter in parameters if parameter.kind not in variable and parameter.name not in given]


def _hints_of(function: Function) -> dict[str, Any]:
    """Return the annotations as types where they can be resolved; those of local names stay text."""
    function = _unwrapped(function)
    # An object with __call__ has the annotations of its class, which say what its attributes are.
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target)
    except Exception:  # any name in any annotation may be unknown here; what cannot be read is matched by its text
        return dict(getattr(target, "__annotations__", {}))


def _source_of(name: str, hint: Any, offered: tuple[str, ...], rest: list[str]) -> str | None:
    if hint is inspect.Parameter.empty or hint is Any or hint is object:
        if name in offered:
            return name
        return rest[0] if rest else None
    source = _source_of_type(hint)
    return source if source in offered else None


def _source_of_type(hint: Any) -> str | None:
    if isinstance(hint, str):
        return _BY_TYPE_NAME.get(hint.partition("[")[0].rpartition(".")[2].strip())
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return next((source for source in map(_source_of_type, typing.get_args(hint)) if source), None)
    kind = origin or hint
    if not isinstance(kind, type):
        return None
    if issubclass(kind, Notification):
        return "notification"
    if issubclass(kind, Delivery):
        return "delivery"
    if issubclass(kind, Failure):
        return "failure"
    if issubclass(kind, BaseException):
        return "error"
    source: str | None = getattr(kind, "handler_argument", None)
    return source


def _cannot_fill(function: Function, parameter: inspect.Parameter, offered: tuple[str, ...]) -> str:
    kinds = [kind for kind, source in _BY_TYPE_NAME.items() if source in offered]
    return (
        f"The parameter {parameter.name!r} of {name_of(function)} cannot be filled. "
        f"Annotate it as one of {', '.join(kinds)}, or give it a default."
    )
