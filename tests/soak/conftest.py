"""The short versions of the soak test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.soak.run import soak_test


@pytest.fixture
def soak(capsys: pytest.CaptureFixture[str]) -> Callable[[str, float], None]:
    """Run on an inbox for some seconds, and expect that all is well."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc: what processes take is only seen on Linux")

    def run(inbox: str, seconds: float) -> None:
        report = soak_test(inbox, seconds=seconds, rate=5, seed=2)
        with capsys.disabled():
            print(f"\n{report}")  # noqa: T201 - its counts belong into the output of the tests
        assert report.wrong == []
        account = report.account
        assert {"kill", "rolling restart"} < {trouble.name for trouble in account.troubles}
        assert sum(sent.accepted for sent in account.sent.values()) > 2 * seconds

    return run
