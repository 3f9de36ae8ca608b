"""What is remembered of failed attempts, and what follows from it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlette_intercom import Failure, HandlerRegistry, InvalidNotification, Reject, Retry
from starlette_intercom.handling.failures import added, culprit, died, failure_of, is_spent, no_handler
from starlette_intercom.handling.registry import Handler
from tests.handling.kit import TOPIC


class Banned(Reject):
    """A user's own kind of refusal."""


class Tale(Exception):
    """Raises whatever it is told to, instead of giving its text."""

    def __init__(self, instead: BaseException) -> None:
        self.instead = instead

    def __str__(self) -> str:
        raise self.instead


def handlers(*names: str, retries: int = 1) -> tuple[Handler, ...]:
    registry = HandlerRegistry()
    for name in names:
        registry.on(TOPIC, handler=lambda notification: None, name=name, retries=retries)
    return registry.handlers_for(TOPIC)


def raised(error: BaseException) -> BaseException:
    local_value = "a-secret-in-a-local-variable"
    try:
        raise error
    except BaseException as caught:
        assert local_value
        return caught


def remembered(error: BaseException) -> Failure:
    return failure_of(raised(error), handler="h", attempt=2, now=5.0)


def test_an_exception_is_described() -> None:
    failure = remembered(KeyError("conversation"))
    assert (failure.handler, failure.attempt, failure.at) == ("h", 2, 5.0)
    assert (failure.error, failure.message) == ("KeyError", "'conversation'")
    assert "in raised" in failure.traceback
    assert "a-secret-in-a-local-variable" not in failure.traceback


def test_an_exception_of_a_user_is_named_with_its_module() -> None:
    assert remembered(Tale(ValueError())).error == f"{__name__}.Tale"


@pytest.mark.parametrize("instead", [ValueError(), RecursionError(), SystemExit(), GeneratorExit(), TypeError()])
def test_an_exception_whose_text_cannot_be_read_is_described(instead: BaseException) -> None:
    failure = remembered(Tale(instead))
    assert failure.message == f"(its text could not be read: {type(instead).__name__})"


def test_an_exception_with_text_that_is_no_text_is_described() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            return 7  # type: ignore[return-value]

    assert remembered(Odd()).message == "(its text could not be read: TypeError)"


def test_what_is_remembered_is_bounded() -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError("x" * 1_000_000)
        deep(levels - 1)

    with pytest.raises(ValueError, match="x") as caught:
        deep(500)
    failure = failure_of(caught.value, handler="h", attempt=1, now=0)
    assert len(failure.message) == 500
    assert len(failure.traceback) <= 4000


def test_a_long_traceback_shows_where_it_was_raised() -> None:
    def innermost() -> None:
        raise RuntimeError("here")

    def deep(levels: int) -> None:
        deep(levels - 1) if levels else innermost()

    with pytest.raises(RuntimeError) as caught:
        deep(500)
    lines = failure_of(caught.value, handler="h", attempt=1, now=0).traceback
    assert "in innermost" in lines
    assert lines.endswith("RuntimeError: here\n")


@given(st.text(st.characters(), max_size=50) | st.just("file-\udcff"))
def test_whatever_its_text_it_can_be_stored(text: str) -> None:
    failure = remembered(ValueError(text))
    assert msgspec.json.decode(msgspec.json.encode(failure), type=Failure) == failure


def test_exception_groups_of_any_size_are_described() -> None:
    failure = remembered(ExceptionGroup("many", [ValueError(str(number)) for number in range(5000)]))
    assert failure.error == "ExceptionGroup"
    assert len(failure.traceback) <= 4000


def test_only_the_latest_failures_keep_their_tracebacks() -> None:
    failures: tuple[Failure, ...] = ()
    for attempt in range(1, 8):
        failures = added(failures, failure_of(raised(ValueError()), handler="h", attempt=attempt, now=0))
    assert [bool(failure.traceback) for failure in failures] == [False] * 4 + [True] * 3
    assert [failure.attempt for failure in failures] == list(range(1, 8))


def test_a_handler_is_spent_after_its_attempts() -> None:
    (handler,) = handlers("h", retries=1)
    once = added((), remembered(ValueError()))
    assert not is_spent(handler, ())
    assert not is_spent(handler, once)
    assert is_spent(handler, added(once, died("h", attempt=2, now=0)))


def test_failures_of_others_do_not_count() -> None:
    (other,) = handlers("other", retries=0)
    assert not is_spent(other, added((), remembered(Reject("no"))))


@pytest.mark.parametrize("error", [Reject("no"), Banned("no"), InvalidNotification("id: no", field="id")])
def test_a_refusal_is_final_at_once(error: Exception) -> None:
    (handler,) = handlers("h", retries=50)
    assert is_spent(handler, added((), remembered(error)))


def test_asking_for_later_is_not_final() -> None:
    (handler,) = handlers("h", retries=1)
    assert not is_spent(handler, added((), remembered(Retry(5))))


def test_a_delivery_without_handlers_says_so() -> None:
    failure = no_handler("contact.created", attempt=3, now=7.0)
    assert (failure.error, failure.attempt, failure.handler) == ("NoHandler", 3, "")
    assert "contact.created" in failure.message


def test_the_first_handler_without_a_trace_was_running() -> None:
    first, second, third = handlers("first", "second", "third")
    nothing: tuple[Failure, ...] = ()
    assert culprit([first, second, third], nothing, attempt=1) is first
    first_failed = added((), failure_of(ValueError(), handler="first", attempt=1, now=0))
    assert culprit([first, second, third], first_failed, attempt=1) is second
    assert culprit([first, second, third], first_failed, attempt=2) is first
    assert culprit([second, third], nothing, attempt=1) is second


def test_who_is_spent_was_not_running() -> None:
    first, second = handlers("first", "second")
    refused = added((), failure_of(Reject("no"), handler="first", attempt=1, now=0))
    assert culprit([first, second], refused, attempt=2) is second
    assert culprit([first], refused, attempt=2) is None
