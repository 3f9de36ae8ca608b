"""Promises 1, 10 and 13: hostile requests of every kind get listed answers, reach nobody, and cost what is bounded."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.hardening.hostile_ends import ENDING
from tests.hardening.hostile_requests import KEEPING, Hostile
from tests.hardening.million import million


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_ten_thousand_hostile_requests(http: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = million(5_000, options=f"--http {http}")
    with capsys.disabled():
        print(f"\n{result.good}")
    assert result.complaints == []
    assert set(result.tally.sent) == {*KEEPING, *ENDING}


@pytest.mark.parametrize(("kind", "make"), [(kind, make) for kind, (_, make) in {**KEEPING, **ENDING}.items()])
def test_a_seed_makes_the_same_request_again(kind: str, make: Callable[[Random], Hostile]) -> None:
    assert [make(Random(seed)) for seed in range(20)] == [make(Random(seed)) for seed in range(20)]
    assert len({make(Random(seed)).data for seed in range(20)}) > 2, kind
