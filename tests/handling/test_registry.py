"""Which handlers run for a topic, in which order, and what is refused when one is registered."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic
import pytest

from starlette_intercom import Backoff, ConfigurationError, HandlerRegistry, Notification
from starlette_intercom.handling import registry as module
from tests.handling.kit import TOPIC, notification

if TYPE_CHECKING:
    Later = int


async def first(notification: Notification) -> None: ...


async def second(notification: Notification) -> None: ...


def plain(notification: Notification) -> None: ...


def names(registry: HandlerRegistry, topic: str = TOPIC) -> list[str]:
    return [handler.name.rpartition(".")[2] for handler in registry.handlers_for(topic)]


@pytest.fixture
def registry() -> HandlerRegistry:
    return HandlerRegistry()


def test_it_is_a_decorator_and_a_call(registry: HandlerRegistry) -> None:
    assert registry.on(TOPIC)(first) is first
    assert registry.on(TOPIC, handler=second) is second
    assert names(registry) == ["first", "second"]
    assert [handler.name for handler in registry.handlers] == [f"{__name__}.first", f"{__name__}.second"]


def test_handlers_run_in_the_order_of_registration(registry: HandlerRegistry) -> None:
    for number in range(50):
        registry.on("*" if number % 2 else TOPIC, handler=first, name=str(number))
    assert names(registry) == [str(number) for number in range(50)]


def test_each_runs_once_however_many_patterns_fit(registry: HandlerRegistry) -> None:
    registry.on(TOPIC, "conversation.*", "*", TOPIC, handler=first)
    assert names(registry) == ["first"]


def test_only_the_handlers_of_a_topic(registry: HandlerRegistry) -> None:
    registry.on("contact.*", handler=first)
    registry.on("contact.created", handler=second)
    assert names(registry, "contact.created") == ["first", "second"]
    assert names(registry, "contact.deleted") == ["first"]
    assert names(registry, "contacts.deleted") == []
    assert registry.handles("contact.deleted")
    assert not registry.handles("contact")


def test_one_function_decorated_twice_is_one_handler(registry: HandlerRegistry) -> None:
    registry.on("contact.created")(registry.on("contact.deleted")(first))
    assert len(registry.handlers) == 1
    assert names(registry, "contact.created") == names(registry, "contact.deleted") == ["first"]


def test_the_options_of_a_handler(registry: HandlerRegistry) -> None:
    backoff = Backoff(base=5)
    registry.on(TOPIC, handler=plain, name="mine", retries=0, timeout=None, backoff=backoff, item=dict)
    registry.on(TOPIC, handler=first)
    mine, usual = registry.handlers
    assert (mine.name, mine.attempts, mine.timeout, mine.backoff, mine.item) == ("mine", 1, None, backoff, dict)
    assert not mine.asynchronous
    assert (usual.attempts, usual.timeout, usual.backoff) == (5, 60.0, Backoff())
    assert usual.asynchronous


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"retries": -1}, "retries must be a whole number from 0 to 100"),
        ({"retries": 101}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"retries": True}, "retries"),
        ({"timeout": 0}, "timeout is in seconds and must be positive"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"item": "Contact"}, "item"),
        ({"item": 5}, "item"),
    ],
)
def test_options_out_of_range_are_refused(registry: HandlerRegistry, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        registry.on(TOPIC, handler=first, **options)
    assert registry.handlers == ()


def test_a_topic_is_needed(registry: HandlerRegistry) -> None:
    with pytest.raises(ConfigurationError, match="at least one topic"):
        registry.on()
    with pytest.raises(ConfigurationError, match="at least one topic"):
        registry.on(first)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match=r"'contact\.\*'"):
        registry.on("contact*")


def test_the_function_may_stand_at_the_end(registry: HandlerRegistry) -> None:
    untyped: Any = registry
    assert untyped.on("contact.*", "ping", first) is first
    assert [handler.patterns for handler in registry.handlers] == [("contact.*", "ping")]


def test_an_annotation_with_a_type_needs_the_type(registry: HandlerRegistry) -> None:
    class Contact(msgspec.Struct):
        id: str

    async def typed(notification: Notification[Contact]) -> None: ...

    async def plain(notification: Notification[dict[str, Any]]) -> None: ...

    async def anything(notification: Notification[Any]) -> None: ...

    typed.__annotations__["notification"] = Notification[Contact]  # as it is where the class can be found
    with pytest.raises(ConfigurationError, match="item=Contact"):
        registry.on("contact.*")(typed)
    registry.on("contact.*", item=Contact)(typed)
    registry.on("contact.*")(plain)
    registry.on("contact.*")(anything)
    assert len(registry.handlers) == 3


def generator(notification: Notification) -> Iterator[None]:
    yield


async def asynchronous_generator(notification: Notification) -> AsyncIterator[None]:
    yield


class CallableGenerator:
    def __call__(self, notification: Notification) -> Iterator[None]:
        yield


@pytest.mark.parametrize("function", [generator, asynchronous_generator, CallableGenerator()])
def test_what_would_run_nothing_is_refused(registry: HandlerRegistry, function: Any) -> None:
    with pytest.raises(ConfigurationError, match="contains 'yield'"):
        registry.on(TOPIC, handler=function)
    with pytest.raises(ConfigurationError, match="contains 'yield'"):
        registry.on_error(function)


def test_a_handler_or_hook_can_be_called(registry: HandlerRegistry) -> None:
    with pytest.raises(ConfigurationError, match="must be a function"):
        registry.on(TOPIC)("not a function")  # type: ignore[type-var]
    with pytest.raises(ConfigurationError, match="must be a function"):
        registry.on_unhandled("not a function")  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("function", "options"),
    [(second, {}), (first, {"retries": 1}), (first, {"timeout": 5}), (first, {"item": dict})],
)
def test_names_are_unique(registry: HandlerRegistry, function: Any, options: dict[str, Any]) -> None:
    registry.on(TOPIC, handler=first, name="same")
    with pytest.raises(ConfigurationError, match="named 'same' already"):
        registry.on("contact.created", handler=function, name="same", **options)


def test_the_same_twice_is_a_mistake(registry: HandlerRegistry) -> None:
    registry.on(TOPIC, handler=first)
    with pytest.raises(ConfigurationError, match="already"):
        registry.on(TOPIC, handler=first)


def test_misspelt_topics_get_a_hint_and_work(registry: HandlerRegistry, caplog: pytest.LogCaptureFixture) -> None:
    registry.on("conversation.user.creatd", "topic.of.the.future", TOPIC, "contact.*", handler=first)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "The topic 'conversation.user.creatd' is not a known one: did you mean 'conversation.user.created'?",
        ),
        (
            logging.WARNING,
            "The topic 'topic.of.the.future' is not a known one, which may be newer than this release.",
        ),
    ]
    assert registry.handles("conversation.user.creatd")


def test_another_registry_is_taken_over_as_it_is_and_as_it_grows(registry: HandlerRegistry) -> None:
    other, inner = HandlerRegistry(), HandlerRegistry()
    registry.on(TOPIC, handler=first, name="1")
    other.on(TOPIC, handler=first, name="2")
    other.on_error(plain)
    other.on_unhandled(plain)
    registry.include(other)
    other.include(inner)
    assert names(registry) == ["1", "2"]
    inner.on(TOPIC, handler=first, name="3")
    inner.on_error(second)
    registry.on(TOPIC, handler=first, name="4")
    assert names(registry) == ["1", "2", "3", "4"]
    assert names(other) == ["2", "3"]
    assert [hook.function for hook in registry.error_hooks] == [plain, second]
    assert [hook.function for hook in registry.unhandled_hooks] == [plain]


def test_a_clash_of_names_over_registries_changes_neither(registry: HandlerRegistry) -> None:
    other = HandlerRegistry()
    registry.include(other)
    registry.on(TOPIC, handler=first, name="same")
    with pytest.raises(ConfigurationError, match="already"):
        other.on(TOPIC, handler=second, name="same")
    assert (len(registry.handlers), len(other.handlers)) == (1, 0)


def test_a_registry_is_included_once_and_not_in_itself(registry: HandlerRegistry) -> None:
    other, third = HandlerRegistry(), HandlerRegistry()
    registry.include(other)
    other.include(third)
    for outer, inner in ((registry, other), (registry, registry), (other, registry), (third, registry)):
        with pytest.raises(ConfigurationError, match="included already"):
            outer.include(inner)


def test_handlers_registered_late_are_found(registry: HandlerRegistry) -> None:
    assert not registry.handles(TOPIC)
    registry.on(TOPIC, handler=first)
    assert registry.handles(TOPIC)


def test_what_is_remembered_of_unknown_topics_is_bounded(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_CACHED_TOPICS", 10)
    registry.on(TOPIC, handler=first)
    for number in range(100):
        assert not registry.handles(f"unknown.{number}")
        assert registry.handles(TOPIC)
    assert len(registry._by_topic) <= 10


class Contact(msgspec.Struct):
    id: str


class Model(pydantic.BaseModel):
    id: str


@pytest.mark.parametrize("kind", [Contact, Model, dict[str, int], list[Contact], Contact | None, int | str])
def test_items_of_many_types(registry: HandlerRegistry, kind: Any) -> None:
    registry.on(TOPIC, handler=first, item=kind)
    assert registry.handlers[0].item == kind


class Forward(msgspec.Struct):
    later: Later


def test_an_item_may_name_what_is_defined_further_down(registry: HandlerRegistry) -> None:
    registry.on(TOPIC, handler=first, item=Forward)
    globals()["Later"] = int
    assert notification(item={"later": 5}).item_as(Forward).later == 5
