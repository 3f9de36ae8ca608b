"""The registry of handlers: which function runs for which topics, and how it is retried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeGuard, TypeVar, cast, is_typeddict, overload

import msgspec

from .. import messages
from ..errors import ConfigurationError
from ..known_topics import KNOWN_TOPICS, TopicName
from ..notification import Notification
from ..payload import check_kind
from ..topics import check_pattern, matches, suggest
from .arguments import Arguments, Function, is_asynchronous, name_of, refuse_generator
from .schedule import Backoff

RETRIES: Final = 4
"""How often a handler is run again after its first attempt, unless it says otherwise: 5 attempts in all."""

TIMEOUT: Final = 60.0
"""Seconds for one attempt of one handler, unless it says otherwise."""

_HANDLER_SOURCES: Final = ("notification", "delivery", "intercom", "events")
_MAX_CACHED_TOPICS: Final = 4096

FunctionT = TypeVar("FunctionT", bound=Function)
ItemT = TypeVar("ItemT")
P = ParamSpec("P")
R = TypeVar("R")


class TypedDecorator(Protocol[ItemT]):
    """What ``on(…, item=Contact)`` returns: takes handlers whose first parameter is a ``Notification[Contact]``."""

    def __call__(
        self, handler: Callable[Concatenate[Notification[ItemT], P], R], /
    ) -> Callable[Concatenate[Notification[ItemT], P], R]:
        """Register the handler and return it."""
        ...


class Handler(msgspec.Struct, frozen=True, eq=False):
    """A function for some topics.

    Attributes:
        name: identifies it across restarts: what it has done is remembered under this name.
        patterns: the topics that it takes.
        function: what is called.
        arguments: with what.
        asynchronous: it is awaited; otherwise it runs in a thread.
        attempts: how often it may be tried.
        timeout: seconds for one attempt; None for no limit.
        backoff: how long it waits between attempts.
        item: the type that ``data.item`` is converted to; None leaves plain JSON values.
    """

    name: str
    patterns: tuple[str, ...]
    function: Function
    arguments: Arguments
    asynchronous: bool
    attempts: int
    timeout: float | None
    backoff: Backoff
    item: Any = None

    def takes(self, topic: str) -> bool:
        """Tell whether it is run for a topic."""
        return any(matches(pattern, topic) for pattern in self.patterns)


class Hook(msgspec.Struct, frozen=True, eq=False):
    """A function that hears of something; what it raises is logged and changes nothing."""

    name: str
    function: Function
    arguments: Arguments
    asynchronous: bool


class HandlerRegistry:
    """Handlers in the order in which they were registered; one module's share, or all of them.

    ``Intercom`` is given others with :meth:`include`::

        handlers = HandlerRegistry()

        @handlers.on("conversation.user.created")
        async def answer(notification: Notification) -> None: ...
    """

    def __init__(self) -> None:
        self._handlers: list[Handler] = []
        self._error_hooks: list[Hook] = []
        self._unhandled_hooks: list[Hook] = []
        self._included_in: list[HandlerRegistry] = []
        self._by_topic: dict[str, tuple[Handler, ...]] = {}

    @property
    def handlers(self) -> Sequence[Handler]:
        """All handlers, in the order in which they run."""
        return tuple(self._handlers)

    @property
    def error_hooks(self) -> Sequence[Hook]:
        """What hears of every failed attempt."""
        return tuple(self._error_hooks)

    @property
    def unhandled_hooks(self) -> Sequence[Hook]:
        """What hears of notifications that no handler takes."""
        return tuple(self._unhandled_hooks)

    @overload
    def on(  # type: ignore[overload-overlap]  # a plain type is for this one, unions are for the next
        self,
        *topics: TopicName | str,
        item: type[ItemT],
        name: str | None = None,
        retries: int = RETRIES,
        timeout: float | None = TIMEOUT,
        backoff: Backoff = ...,
    ) -> TypedDecorator[ItemT]: ...

    @overload
    def on(
        self,
        *topics: TopicName | str,
        item: type[Any] | UnionType | None = None,
        name: str | None = None,
        retries: int = RETRIES,
        timeout: float | None = TIMEOUT,
        backoff: Backoff = ...,
    ) -> Callable[[FunctionT], FunctionT]: ...

    @overload
    def on(
        self,
        *topics: TopicName | str,
        handler: Callable[Concatenate[Notification[ItemT], P], R],
        item: type[ItemT],
        name: str | None = None,
        retries: int = RETRIES,
        timeout: float | None = TIMEOUT,
        backoff: Backoff = ...,
    ) -> Callable[Concatenate[Notification[ItemT], P], R]: ...

    @overload
    def on(
        self,
        *topics: TopicName | str,
        handler: FunctionT,
        item: type[Any] | UnionType | None = None,
        name: str | None = None,
        retries: int = RETRIES,
        timeout: float | None = TIMEOUT,
        backoff: Backoff = ...,
    ) -> FunctionT: ...

    def on(
        self,
        *topics: str,
        handler: Function | None = None,
        name: str | None = None,
        retries: int = RETRIES,
        timeout: float | None = TIMEOUT,
        backoff: Backoff = Backoff(),  # noqa: B008 - immutable
        item: object = None,
    ) -> Callable[..., Any]:
        """Register a handler for topics: as a decorator, or as a call with ``handler=``.

        The function may be asynchronous, plain (it runs in a thread, which cannot be cancelled) or a callable object.
        It may be run more than once for a notification, and must tolerate that.

        Args:
            topics: exact topics, ``contact.*`` for all below a name, ``*`` for all.
            handler: the function; without it, a decorator is returned.
            name: identifies the handler across restarts; module and qualified name where not given.
            retries: how often it is run again after the first attempt, 0 to 100.
            timeout: seconds for one attempt; None for no limit.
            backoff: how long it waits between attempts.
            item: a type that ``data.item`` is converted to before the handler gets it. Type checkers then want the
                notification to be the handler's first parameter.

        Raises:
            ConfigurationError: an option is out of its range, the name is taken, or a parameter cannot be filled.
        """
        if handler is None and topics and callable(topics[-1]):  # on("a.topic", function), as many would write it
            topics, handler = topics[:-1], cast("Function", topics[-1])
        if not topics:
            raise ConfigurationError("on() needs at least one topic, such as 'conversation.user.created' or '*'.")
        for topic in topics:
            check_pattern(topic)
        if type(retries) is not int or not 0 <= retries <= 100:
            raise ConfigurationError("retries must be a whole number from 0 to 100.")
        if timeout is not None and not 0 < timeout < float("inf"):
            raise ConfigurationError("timeout is in seconds and must be positive, or None for no limit.")
        if item is not None:
            check_kind(item)

        def register(function: FunctionT) -> FunctionT:
            if not callable(function):
                raise ConfigurationError("A handler must be a function or another callable object.")
            refuse_generator(function)
            arguments = Arguments(function, offered=_HANDLER_SOURCES, order=("notification",))
            hint = arguments.item_hint
            if item is None and _wants_conversion(hint):
                raise ConfigurationError(
                    f"{name_of(function)} is annotated with Notification[{hint.__name__}], so register it with "
                    f"item={hint.__name__}; without that it would get plain JSON values."
                )
            self._add(
                Handler(
                    name=name or name_of(function),
                    patterns=tuple(topics),
                    function=function,
                    arguments=arguments,
                    asynchronous=is_asynchronous(function),
                    attempts=retries + 1,
                    timeout=timeout,
                    backoff=backoff,
                    item=item,
                )
            )
            _hint_at_typos(topics)
            return function

        return register if handler is None else register(handler)

    def on_error(self, hook: FunctionT) -> FunctionT:
        """Register a hook that hears of every failed attempt of every handler.

        It may ask for the ``Notification``, the ``Delivery``, the ``Failure``, the exception (any annotation that is
        an exception type; None where the process died), ``Intercom`` and ``EventsClient``. It has a minute.
        """
        offered = ("notification", "error", "delivery", "failure", "intercom", "events")
        self._add_hook("_error_hooks", _hook(hook, offered, order=("notification", "error")))
        return hook

    def on_unhandled(self, hook: FunctionT) -> FunctionT:
        """Register a hook that hears, after the answer, of each notification that no handler takes.

        It may ask for the ``Notification``, ``Intercom`` and ``EventsClient``. It has a minute.
        """
        offered = ("notification", "intercom", "events")
        self._add_hook("_unhandled_hooks", _hook(hook, offered, order=("notification",)))
        return hook

    def include(self, other: HandlerRegistry) -> None:
        """Take over the handlers and hooks of another registry, those of now and those it gets later.

        Raises:
            ConfigurationError: a handler's name is taken, or the registry is included already.
        """
        if other is self or self in other._included_in or other._includes(self):
            raise ConfigurationError("This registry is included already.")
        for handler in other._handlers:
            self._add(handler)
        for kind in ("_error_hooks", "_unhandled_hooks"):
            for hook in getattr(other, kind):
                self._add_hook(kind, hook)
        other._included_in.append(self)

    def handles(self, topic: str) -> bool:
        """Tell whether there is a handler for a topic."""
        return bool(self.handlers_for(topic))

    def handlers_for(self, topic: str) -> tuple[Handler, ...]:
        """Return the handlers of a topic, in the order in which they run."""
        found = self._by_topic.get(topic)
        if found is None:
            if len(self._by_topic) >= _MAX_CACHED_TOPICS:
                self._by_topic.clear()
            found = self._by_topic[topic] = tuple(handler for handler in self._handlers if handler.takes(topic))
        return found

    def _includes(self, other: HandlerRegistry) -> bool:
        return any(self is parent or self._includes(parent) for parent in other._included_in)

    def _add(self, handler: Handler) -> None:
        same = next((index for index, known in enumerate(self._handlers) if known.name == handler.name), None)
        merged = handler if same is None else _merged(self._handlers[same], handler)
        for registry in self._included_in:  # first, since they may refuse it
            registry._add(handler)
        if same is None:
            self._handlers.append(handler)
        else:
            self._handlers[same] = merged
        self._by_topic.clear()

    def _add_hook(self, kind: str, hook: Hook) -> None:
        getattr(self, kind).append(hook)
        for registry in self._included_in:
            registry._add_hook(kind, hook)


def _merged(known: Handler, again: Handler) -> Handler:
    """One function, decorated twice, is one handler for both sets of topics; anything else is a clash of names."""
    same_options = all(
        getattr(known, option) == getattr(again, option) for option in ("attempts", "timeout", "backoff", "item")
    )
    if known.function != again.function or not same_options or known.patterns == again.patterns:
        raise ConfigurationError(
            f"There is a handler named {again.name!r} already. Names must be unique and stay the same across restarts: "
            "give one of the two a name of its own with on(…, name='…')."
        )
    return msgspec.structs.replace(known, patterns=(*known.patterns, *again.patterns))


def _hook(function: Function, offered: tuple[str, ...], order: tuple[str, ...]) -> Hook:
    if not callable(function):
        raise ConfigurationError("A hook must be a function or another callable object.")
    refuse_generator(function)
    return Hook(
        name=name_of(function),
        function=function,
        arguments=Arguments(function, offered=offered, order=order),
        asynchronous=is_asynchronous(function),
    )


def _wants_conversion(hint: object) -> TypeGuard[type]:
    """Tell whether a type is no plain JSON value, so that it must be converted to."""
    if hint is Any or hint is object or not isinstance(hint, type) or is_typeddict(hint):
        return False
    return not issubclass(hint, (dict, list, str, int, float, bool, type(None)))


def _hint_at_typos(topics: Sequence[str]) -> None:
    for pattern in topics:
        if not any(matches(pattern, topic) for topic in KNOWN_TOPICS):
            messages.logger.warning(messages.unknown_topic(pattern, suggest(pattern)))
