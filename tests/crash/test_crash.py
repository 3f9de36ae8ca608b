"""Promises 2, 3 and 6: what was answered with 200 is completed or dead, whatever is killed, whenever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from starlette_intercom import DeadLetter
from starlette_intercom.inbox.urls import inbox_from_url
from tests.crash.harness import crash_test
from tests.crash.processes import POINTS
from tests.processes import ROOT


def test_nothing_is_lost_when_servers_are_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account = crash_test(f"sqlite:///{tmp_path}/inbox.db", kills=2 * len(POINTS), notifications=1000, seed=7)
    with capsys.disabled():
        print(f"\n{account}")  # noqa: T201 - its counts belong into the output of the tests
    assert account.lost == set()
    assert account.doubled == set()
    assert account.unfinished == 0
    assert set(account.kills) == set(POINTS)
    assert len(account.answered) == account.sent >= 1000


@pytest.mark.parametrize("processes", [2, 4])
def test_copies_sent_to_several_processes_complete_once(processes: int, tmp_path: Path) -> None:
    account = crash_test(
        f"sqlite:///{tmp_path}/inbox.db", kills=0, notifications=500, seed=processes, processes=processes, copies=3
    )
    assert (len(account.answered), account.answers) == (500, 1500)
    assert account.refused.total() == 0
    assert set(account.runs.values()) == {1}
    assert set(account.completions.values()) == {1}
    assert len(account.completions) == 500


def test_a_handler_that_ends_its_process_ends_in_the_dead_letters(tmp_path: Path) -> None:
    """Promise 6, and promise 9: the handlers after it, and other deliveries, are still run."""
    url, ledger = f"sqlite:///{tmp_path}/inbox.db", tmp_path / "ledger"
    environ = {**os.environ, "INTERCOM_INBOX": url, "LEDGER": str(ledger), "PYTHONPATH": str(ROOT)}
    ended = []
    for start in range(8):
        ran = subprocess.run(
            [sys.executable, "-m", "tests.crash.deadly", "deliver" if start == 0 else "work"],
            cwd=ROOT,
            env=environ,
            timeout=30,
            check=False,
        )
        ended.append(ran.returncode)
    # Five attempts end the process; in the sixth run the handler after it is reached, and then there is nothing left.
    assert ended == [70, 70, 70, 70, 70, 0, 0, 0]
    lines = Counter(ledger.read_text().splitlines())
    assert (lines["deadly"], lines["after"]) == (5, 1)
    assert (
        1 <= lines["other"] <= 3
    )  # it may have been caught in a crash twice; then it is run apart from the deadly one
    (letter,) = anyio.run(dead_letters_of, url)
    assert letter.handlers == ("tests.crash.deadly.deadly",)
    assert [failure.error for failure in letter.failures] == ["ProcessDied"] * 5


async def dead_letters_of(url: str) -> Sequence[DeadLetter]:
    inbox = inbox_from_url(url)
    await inbox.open()
    try:
        return await inbox.list_dead()
    finally:
        await inbox.close()
