"""Promises 2 and 3 over several hosts' worth of processes: web servers, workers and Redis itself are killed.

More and longer by hand: ``python -m tests.crash.harness --redis --taskiq --workers 2 --kills 200``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.harness import crash_test
from tests.redis_process import RedisProcess, require_redis


@pytest.mark.parametrize(("taskiq", "kills"), [(False, 6), (True, 4)], ids=["workers", "taskiq"])
def test_nothing_is_lost_when_servers_workers_and_redis_are_killed(
    taskiq: bool, kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_redis()
    with RedisProcess(tmp_path) as redis:
        account = crash_test(redis.url, kills=kills, notifications=300, seed=7, workers=2, redis=redis, taskiq=taskiq)
    with capsys.disabled():
        print(f"\n{account}")  # noqa: T201 - its counts belong into the output of the tests
    assert account.lost == set()
    assert account.doubled == set()
    assert account.unfinished == 0
    assert len(account.answered) == account.sent >= 300
    killed = {label.partition(" ")[0] for label in account.kills}
    assert killed == {"web", "worker", "redis"}
