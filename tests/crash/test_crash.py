"""Promises 2, 3 and 6: what was answered with 200 is completed or dead, whatever is killed, whenever."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.harness import POINTS, crash_test


def test_nothing_is_lost_when_servers_are_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account = crash_test(f"sqlite:///{tmp_path}/inbox.db", kills=2 * len(POINTS), notifications=1000, seed=7)
    with capsys.disabled():
        print(f"\n{account}")  # noqa: T201 - its counts belong into the output of the tests
    assert account.lost == set()
    assert account.doubled == set()
    assert account.unfinished == 0
    assert set(account.kills) == set(POINTS)
    assert len(account.answered) > 900
