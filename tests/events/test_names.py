"""Advice about names: a verb in the past tense and a noun."""

from __future__ import annotations

import logging

import pytest

from starlette_intercom.errors import InvalidEvent
from starlette_intercom.events.names import NameCheck, looks_past_tense


@pytest.mark.parametrize(
    "name",
    [
        "placed-order",
        "upgraded-plan",
        "invited-teammate",
        "completed-onboarding",
        "sent-invoice",
        "bought-item",
        "signed_up",
        "Placed order",
        "PlacedOrder",
        "successfully-paid-invoice",
        "re-opened-ticket",
        "заказал-товар",
    ],
)
def test_names_that_need_no_advice(name: str) -> None:
    assert looks_past_tense(name)


@pytest.mark.parametrize("name", ["order", "click", "page_view", "order-placed", "need-help", "speed test", "x"])
def test_names_that_do(name: str) -> None:
    assert not looks_past_tense(name)


def test_the_warning_comes_once_for_each_name(caplog: pytest.LogCaptureFixture) -> None:
    check = NameCheck(strict=False)
    with caplog.at_level(logging.WARNING):
        for name in ("click", "click", "order", "placed-order", "click"):
            check(name)
    assert len(caplog.records) == 2


def test_strict_refuses_every_time() -> None:
    check = NameCheck(strict=True)
    check("placed-order")
    for _ in range(2):
        with pytest.raises(InvalidEvent) as caught:
            check("click")
        assert caught.value.field == "name"
