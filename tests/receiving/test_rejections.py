"""The log of what was turned away: complete in its counts, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlette_intercom.messages import turned_away
from starlette_intercom.receiving.rejections import RejectionLog


def test_the_first_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    RejectionLog().add("why", now=0.0)
    assert caplog.messages == ["Webhook request: why."]
    assert caplog.records[0].levelname == "WARNING"


def test_a_flood_becomes_a_line_a_minute_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    log = RejectionLog()
    for tenth in range(3 * 600):
        log.add("why", now=100 + tenth / 10)
    assert caplog.messages == [
        "Webhook request: why.",
        "Webhook request: why (and 599 times more since this was last said).",
        "Webhook request: why (and 599 times more since this was last said).",
    ]


def test_every_reason_counts_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    log = RejectionLog()
    for reason in ("one", "two", "one", "two"):
        log.add(reason, now=0.0)
    assert caplog.messages == ["Webhook request: one.", "Webhook request: two."]


def test_reasons_without_end_are_counted_together(caplog: pytest.LogCaptureFixture) -> None:
    log = RejectionLog()
    for number in range(10_000):
        log.add(f"reason {number}", now=0.0)
    assert len(caplog.messages) == 101
    assert "other reasons" in caplog.messages[-1]
    log.add("one more", now=60.0)
    assert caplog.messages[-1] == ("Webhook request: other reasons (and 9899 times more since this was last said).")
    assert len(log._since) == 101


@given(st.text())
def test_a_reason_stays_on_its_line(reason: str) -> None:
    line = turned_away(reason, 7)
    assert line.isascii()
    assert line.isprintable()


def test_a_defect_shows_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        RejectionLog().add("why", error, now=0.0)
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


def test_time_is_monotonic_where_it_is_not_given(caplog: pytest.LogCaptureFixture) -> None:
    log = RejectionLog()
    log.add("why")
    log.add("why")
    assert len(caplog.messages) == 1
