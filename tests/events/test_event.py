"""What an event may contain, and what becomes of it on the wire."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlette_intercom.errors import InvalidEvent
from starlette_intercom.events import Event, Money, RichLink
from starlette_intercom.events.validation import decode_event, encode_event


def encoded(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode_event(Event("placed-order", **{"user_id": "u1", **fields})))
    return body


def refused(name: Any = "placed-order", **fields: Any) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        encode_event(Event(name, **fields))
    return caught.value


def test_every_kind_of_metadata_is_written_as_intercom_takes_it() -> None:
    body = encoded(
        created_at=1_700_000_000,
        metadata={
            "plan": "gold",
            "items": 3,
            "load": 3.67,
            "trial": True,
            "due_date": datetime(2024, 1, 1, tzinfo=UTC),
            "paid_date": 1_392_036_272,
            "page": "https://example.org/a",
            "order": RichLink("https://example.org/orders/7", "No. 7"),
            "total": Money(34999, "EUR"),
            "tax": Money(Decimal("66.50"), "eur"),
        },
    )
    assert body == {
        "event_name": "placed-order",
        "created_at": 1_700_000_000,
        "user_id": "u1",
        "metadata": {
            "plan": "gold",
            "items": 3,
            "load": 3.67,
            "trial": True,
            "due_date": 1_704_067_200,
            "paid_date": 1_392_036_272,
            "page": "https://example.org/a",
            "order": {"url": "https://example.org/orders/7", "value": "No. 7"},
            "total": {"amount": 34999, "currency": "eur"},
            "tax": {"amount": 6650, "currency": "eur"},
        },
    }


@pytest.mark.parametrize("key", ["user_id", "id", "email"])
def test_each_contact_key_is_sent_under_its_own_name(key: str) -> None:
    body = json.loads(encode_event(Event("placed-order", **{key: "x"})))  # type: ignore[arg-type]
    assert body[key] == "x"
    assert {"user_id", "id", "email"} & body.keys() == {key}


def test_without_metadata_the_key_is_left_out() -> None:
    assert "metadata" not in encoded(metadata={})


def test_the_time_is_set_when_the_event_is_made() -> None:
    before = int(time.time())
    event = Event("placed-order", user_id="u")
    assert before <= json.loads(encode_event(event))["created_at"] <= int(time.time())
    assert encode_event(event) == encode_event(event)


def test_an_aware_datetime_counts_in_its_own_zone() -> None:
    east = timezone(timedelta(hours=5))
    assert encoded(created_at=datetime(2024, 1, 1, 5, 0, 0, 999_999, tzinfo=east))["created_at"] == 1_704_067_200


@pytest.mark.parametrize(
    ("created_at", "reason"),
    [
        (datetime(2024, 1, 1), "time zone"),
        (1_700_000_000_000, "milliseconds"),
        (1_700_000_000.5, "whole Unix seconds"),
        (True, "whole Unix seconds"),
        ("2024-01-01", "whole Unix seconds"),
        (None, "None"),
        (-1, "1970"),
        (datetime(1950, 1, 1, tzinfo=UTC), "1970"),
    ],
)
def test_a_time_that_is_none_is_refused(created_at: Any, reason: str) -> None:
    error = refused(user_id="u", created_at=created_at)
    assert error.field == "created_at"
    assert reason in error.reason


@pytest.mark.parametrize("name", ["", "  ", None, 7, b"placed-order"])
def test_a_name_is_a_text(name: Any) -> None:
    assert refused(name, user_id="u").field == "name"


@pytest.mark.parametrize("keys", [{}, {"user_id": "u", "email": "e"}, {"user_id": "u", "id": "i", "email": "e"}])
def test_exactly_one_contact_key_is_given(keys: dict[str, str]) -> None:
    assert "exactly one" in refused(**keys).reason


@pytest.mark.parametrize("keys", [{"user_id": 7}, {"email": ""}, {"id": b"x"}])
def test_a_contact_key_is_a_text(keys: dict[str, Any]) -> None:
    assert refused(**keys).field == next(iter(keys))


def test_an_eleventh_key_is_refused_by_name() -> None:
    error = refused(user_id="u", metadata={f"k{n}": n for n in range(12)})
    assert error.field == "metadata"
    assert "k10, k11" in error.reason
    assert "k9" not in error.reason


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("x", float("nan"), "metadata.x"),
        ("x", float("inf"), "metadata.x"),
        ("x", None, "metadata.x"),
        ("x", {"nested": {"deep": 1}}, "metadata.x"),
        ("x", {"url": "https://a", "value": "b"}, "metadata.x"),
        ("x", [1], "metadata.x"),
        ("x", Decimal("1.5"), "metadata.x"),
        ("x", b"bytes", "metadata.x"),
        ("x", datetime(2024, 1, 1, tzinfo=UTC), "metadata.x"),
        ("x_date", "2024-01-01", "metadata.x_date"),
        ("x_date", 1_700_000_000_000, "metadata.x_date"),
        ("x_date", datetime(2024, 1, 1), "metadata.x_date"),
        ("x_date", Money(1, "eur"), "metadata.x_date"),
        ("x", Money(-1, "eur"), "metadata.x.amount"),
        ("x", Money(True, "eur"), "metadata.x.amount"),
        ("x", Money(3.5, "eur"), "metadata.x.amount"),  # type: ignore[arg-type]
        ("x", Money(Decimal("1.005"), "eur"), "metadata.x.amount"),
        ("x", Money(Decimal("NaN"), "eur"), "metadata.x.amount"),
        ("x", Money(Decimal("Infinity"), "eur"), "metadata.x.amount"),
        ("x", Money(Decimal("1E+999999"), "eur"), "metadata.x.amount"),
        ("x", Money(Decimal(500), "jpy"), "metadata.x.amount"),
        ("x", Money(1, "euro"), "metadata.x.currency"),
        ("x", Money(1, "€€€"), "metadata.x.currency"),
        ("x", Money(1, None), "metadata.x.currency"),  # type: ignore[arg-type]
        ("x", RichLink("ftp://a", "b"), "metadata.x.url"),
        ("x", RichLink("javascript:alert(1)", "b"), "metadata.x.url"),
        ("x", RichLink("https://a", ""), "metadata.x.value"),
        ("x", "\ud800", "metadata.x"),
        ("x", 2**70, "metadata.x"),
        ("\ud800", "value", "metadata key"),
        ("", "value", "metadata key"),
        (7, "value", "metadata key"),
    ],
)
def test_metadata_that_intercom_would_not_take_is_refused_by_field(key: Any, value: Any, field: str) -> None:
    assert refused(user_id="u", metadata={key: value}).field == field


@pytest.mark.parametrize("where", ["name", "user_id"])
def test_a_lone_surrogate_is_named(where: str) -> None:
    fields = {"name": "placed-order", "user_id": "u", where: "\udc80"}
    assert refused(fields.pop("name"), **fields).field == where


def test_something_else_than_an_event_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="dict"):
        encode_event({"name": "placed-order"})  # type: ignore[arg-type]


def test_subclasses_of_plain_values_are_sent_as_what_they_are() -> None:
    class Plan(StrEnum):
        GOLD = "gold"

    class Count(int):
        pass

    assert encoded(metadata={"plan": Plan.GOLD, "n": Count(3)})["metadata"] == {"plan": "gold", "n": 3}


def test_neither_contact_nor_metadata_is_in_the_repr() -> None:
    event = Event("placed-order", email="ann@example.org", metadata={"secret": "s3cret"})
    assert "ann@" not in repr(event)
    assert "s3cret" not in repr(event)


@given(cents=st.integers(0, 10**12))
def test_decimals_become_cents_exactly(cents: int) -> None:
    amount = Decimal(cents).scaleb(-2)
    assert encoded(metadata={"p": Money(amount, "usd")})["metadata"]["p"]["amount"] == cents


values = st.one_of(
    st.text('ab é☃\x00"\\'),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.builds(Money, st.integers(0, 2**60), st.sampled_from(["eur", "usd"])),
    st.builds(RichLink, st.just("https://example.org/"), st.text("abc", min_size=1)),
)


@given(metadata=st.dictionaries(st.text("abc", min_size=1), values, max_size=10), at=st.integers(0, 10**11))
def test_what_was_encoded_reads_back_to_the_same_bytes(metadata: dict[str, Any], at: int) -> None:
    body = encode_event(Event("placed-order", email="e", created_at=at, metadata=metadata))
    assert encode_event(decode_event(body)) == body
