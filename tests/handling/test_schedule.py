"""When a failed handler is tried again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlette_intercom import Backoff, ConfigurationError

chances = st.floats(0, 1)


def test_the_waits_grow_up_to_the_cap() -> None:
    backoff = Backoff(base=2, factor=3, cap=50)
    assert [backoff.delay(failures, 1.0) for failures in range(1, 6)] == [2, 6, 18, 50, 50]


def test_the_jitter_is_full() -> None:
    backoff = Backoff(base=2, factor=3, cap=50)
    assert [backoff.delay(2, chance) for chance in (0.0, 0.5, 1.0)] == [0, 3, 6]


@given(st.floats(1e-6, 1e6), st.floats(1, 1e6), st.floats(0, 1e6), st.integers(1, 10_000), chances)
def test_a_wait_is_between_zero_and_the_cap(
    base: float, factor: float, more: float, failures: int, chance: float
) -> None:
    backoff = Backoff(base=base, factor=factor, cap=base + more)
    assert 0 <= backoff.delay(failures, chance) <= base + more


@given(st.integers(1, 200), chances)
def test_a_longer_history_never_waits_less(failures: int, chance: float) -> None:
    backoff = Backoff()
    assert backoff.delay(failures, chance) <= backoff.delay(failures + 1, chance)


@pytest.mark.parametrize(
    ("base", "factor", "cap"),
    [
        (0, 4, 10),
        (-1, 4, 10),
        (11, 4, 10),
        (1, 0.5, 10),
        (1, math.inf, 10),
        (1, 4, math.inf),
        (math.nan, 4, 10),
        (1, math.nan, 10),
        (1, 4, math.nan),
    ],
)
def test_values_out_of_range_are_refused(base: float, factor: float, cap: float) -> None:
    with pytest.raises(ConfigurationError, match="0 < base <= cap"):
        Backoff(base=base, factor=factor, cap=cap)
