"""What a handler gets, by annotation or by place; and what cannot be filled."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest

from starlette_intercom import (
    ConfigurationError,
    Delivery,
    EventsClient,
    Failure,
    HandlerRegistry,
    Intercom,
    Notification,
    StoredNotification,
)
from starlette_intercom.handling.arguments import Arguments, Function, Sources, is_asynchronous, name_of
from tests.handling.kit import TOPIC, Services, notification

if TYPE_CHECKING:
    import somewhere_else as Elsewhere  # type: ignore[import-not-found] # noqa: N812
    from somewhere_else import Unknown

EVENTS = object()
NOTIFICATION = StoredNotification.of(notification())
DELIVERY = Delivery(id="a", topic=TOPIC, attempt=1, first_seen=0, fencing=1)
ERROR = ValueError("no")
FAILURE = Failure(handler="h", attempt=1, at=0, error="ValueError", message="no")
SERVICES = Services(EVENTS)
OFFERED = ("notification", "error", "delivery", "failure", "intercom", "events")


def call(function: Function, offered: tuple[str, ...] = OFFERED) -> Any:
    arguments = Arguments(function, offered=offered, order=("notification", "error"))
    sources = Sources(notification=NOTIFICATION, delivery=DELIVERY, error=ERROR, failure=FAILURE, services=SERVICES)
    return arguments.bind(function, sources)()


def test_annotations_decide() -> None:
    def function(d: Delivery, e: EventsClient, i: Intercom, f: Failure, n: Notification, x: ValueError) -> Any:
        return d, e, i, f, n, x

    assert call(function) == (DELIVERY, EVENTS, SERVICES, FAILURE, NOTIFICATION, ERROR)


def test_without_annotations_names_and_places_decide() -> None:
    assert call(lambda n: n) is NOTIFICATION
    assert call(lambda anything, problem: (anything, problem)) == (NOTIFICATION, ERROR)
    assert call(lambda delivery, n: (delivery, n)) == (DELIVERY, NOTIFICATION)
    assert call(lambda error, n: (error, n)) == (ERROR, NOTIFICATION)
    assert call(lambda events, intercom: (events, intercom)) == (EVENTS, SERVICES)


def test_a_function_may_ask_for_nothing() -> None:
    assert call(lambda: "called") == "called"
    assert call(lambda *args, **kwargs: (args, kwargs)) == ((), {})


def test_annotations_of_many_kinds() -> None:
    def function(
        a: Notification[dict[str, Any]],
        b: Optional[Delivery],  # noqa: UP045
        c: Delivery | None,
        d: Annotated[Delivery, "with a note"],
        e: BaseException,
        f: StoredNotification[Any] | None = None,
    ) -> Any:
        return a, b, c, d, e, f

    assert call(function) == (NOTIFICATION, DELIVERY, DELIVERY, DELIVERY, ERROR, NOTIFICATION)


def test_any_and_object_are_no_annotations() -> None:
    def function(a: Any, b: object) -> Any:
        return a, b

    assert call(function) == (NOTIFICATION, ERROR)


def test_annotations_that_cannot_be_resolved_are_read() -> None:
    def function(a: Elsewhere.Notification[Unknown], b: Delivery, error: Exception, c: Unknown = 5) -> Any:
        return a, b, error, c

    assert call(function) == (NOTIFICATION, DELIVERY, ERROR, 5)


def test_keywords_are_filled() -> None:
    def function(*, delivery: Delivery, n: Notification) -> Any:
        return delivery, n

    assert call(function) == (DELIVERY, NOTIFICATION)


def test_defaults_stay_where_nothing_fits() -> None:
    def function(n: Notification, client: str = "mine", times: int = 3, *, d: Delivery, log: Any = None) -> Any:
        return n, client, times, d

    assert call(function) == (NOTIFICATION, "mine", 3, DELIVERY)

    def gap(client: str = "mine", n: Notification = NOTIFICATION) -> Any:
        return client, n

    assert call(gap) == ("mine", NOTIFICATION)


def test_partial_functions_and_methods_and_objects() -> None:
    class Crm:
        def __init__(self, url: str) -> None:
            self.url = url

        def sync(self, n: Notification, d: Delivery) -> Any:
            return self.url, n, d

        @classmethod
        def of_class(cls, d: Delivery) -> Any:
            return d

    @dataclass
    class Handler:
        notification: str  # annotations of the class are not those of the call

        def __call__(self, notification: Notification, x: Delivery) -> Any:
            return self.notification, notification, x

    assert call(Crm("u").sync) == ("u", NOTIFICATION, DELIVERY)
    assert call(Crm.of_class) is DELIVERY
    assert call(functools.partial(Crm.sync, Crm("v"))) == ("v", NOTIFICATION, DELIVERY)
    assert call(functools.partial(lambda n, tag: (n, tag), tag=5)) == (NOTIFICATION, 5)
    assert call(Handler("mine")) == ("mine", NOTIFICATION, DELIVERY)


def test_what_has_no_signature_gets_the_notification() -> None:
    assert call(type) is StoredNotification
    seen: list[object] = []
    call(seen.append)
    assert seen == [NOTIFICATION]


@pytest.mark.parametrize("kind", [str, "Contact", int | None, list[Notification], 5, Failure])
def test_what_cannot_be_filled_is_refused_at_once(kind: object) -> None:
    def handler(notification: Notification, contact: object) -> None: ...

    handler.__annotations__["contact"] = kind
    with pytest.raises(ConfigurationError) as caught:
        HandlerRegistry().on(TOPIC, handler=handler)
    assert str(caught.value) == (
        f"The parameter 'contact' of {__name__}.test_what_cannot_be_filled_is_refused_at_once.<locals>.handler cannot "
        "be filled. Annotate it as one of Notification, Delivery, Intercom, EventsClient, or give it a default."
    )


def test_a_second_parameter_without_annotation_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'other'"):
        HandlerRegistry().on(TOPIC, handler=lambda notification, other: None)


def test_hooks_know_what_they_may_ask_for() -> None:
    registry = HandlerRegistry()
    with pytest.raises(ConfigurationError, match="Notification, Delivery, Failure, Exception, Intercom, EventsClient"):
        registry.on_error(lambda a, b, c: None)

    def wants_a_delivery(delivery: Delivery) -> None: ...

    with pytest.raises(ConfigurationError, match="one of Notification, Intercom, EventsClient"):
        registry.on_unhandled(wants_a_delivery)


def test_asynchronous_ones_are_recognised() -> None:
    async def function() -> None: ...

    class Handler:
        async def __call__(self) -> None: ...

        async def method(self) -> None: ...

    for asynchronous in (function, Handler(), Handler().method, functools.partial(functools.partial(function))):
        assert is_asynchronous(asynchronous)
    for plain in (lambda: None, print, functools.partial(print), "".join):
        assert not is_asynchronous(plain)


def test_names_are_stable() -> None:
    class Handler:
        def __call__(self) -> None: ...

        def method(self) -> None: ...

    here = f"{__name__}.test_names_are_stable.<locals>"
    assert name_of(Handler()) == f"{here}.Handler"
    assert name_of(Handler().method) == f"{here}.Handler.method"
    assert name_of(functools.partial(functools.partial(Handler().method))) == f"{here}.Handler.method"
    assert name_of(test_names_are_stable) == f"{__name__}.test_names_are_stable"
