"""Nothing is lost and nothing grows while servers run on and on: the short version.

For longer, by hand: ``python -m tests.soak.run --minutes 30``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.redis_process import require_redis
from tests.soak.run import soak_test


@pytest.mark.parametrize(("inbox", "seconds"), [("sqlite", 95), ("redis", 45)])
def test_nothing_is_lost_and_nothing_grows(inbox: str, seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc: what processes take is only seen on Linux")
    if inbox == "redis":
        require_redis()
    report = soak_test(inbox, seconds=seconds, rate=5, seed=2)
    with capsys.disabled():
        print(f"\n{report}")  # noqa: T201 - its counts belong into the output of the tests
    assert report.wrong == []
    account = report.account
    assert {"kill", "rolling restart"} < {trouble.name for trouble in account.troubles}
    assert sum(sent.accepted for sent in account.sent.values()) > 2 * seconds
