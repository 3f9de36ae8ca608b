"""What a notification costs with SQLite, alone and among others that come at the same time: counted, not timed."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from starlette_intercom.inbox.sqlite import SQLiteInbox
from tests.costs.app import App
from tests.costs.counting import CountingLoop, check, counting_loop

pytestmark = pytest.mark.anyio

_connect: Final = sqlite3.connect


@pytest.fixture
def anyio_backend() -> object:
    return "asyncio", {"loop_factory": CountingLoop}


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What SQLite is told in the test, by the first word."""
    counter: Counter[str] = Counter()

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = _connect(*args, **options)
        connection.set_trace_callback(lambda statement: counter.update([statement.split(None, 1)[0].upper()]))
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    return counter


@pytest.fixture
def app(tmp_path: Path, statements: Counter[str]) -> App:
    """An app on a real file, which is locked while everything that is to share a transaction gathers."""
    path = tmp_path / "intercom.db"

    @contextmanager
    def locked() -> Iterator[None]:
        with closing(_connect(path, isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    return App(SQLiteInbox(path, busy_timeout=60), held=locked)


@pytest.mark.parametrize(
    ("together", "bound"),
    [
        (1, 16),  # 15 on 2026-11-28: accept and claim in one transaction, then complete
        (32, 0.5),  # 0.47 on 2026-11-28: the same 15
    ],
)
async def test_statements_per_notification(app: App, statements: Counter[str], together: int, bound: float) -> None:
    async with app.started():
        spent = await app.cost(together, statements.total, rounds=15)
    check(spent, bound, "SQL statements", details=f"{statements}")


@pytest.mark.parametrize(
    ("together", "bound"),
    [
        (1, 2),  # 2 on 2026-11-28
        (32, 0.065),  # 0.0625 on 2026-11-28: the same 2
    ],
)
async def test_commits_per_notification(app: App, statements: Counter[str], together: int, bound: float) -> None:
    async with app.started():
        spent = await app.cost(together, lambda: statements["COMMIT"], rounds=15)
    check(spent, bound, "commits", details=f"{statements}")


@pytest.mark.parametrize("together", [1, 32])
async def test_no_task_is_started_for_a_notification(app: App, together: int) -> None:
    loop = counting_loop()
    async with app.started():
        spent = await app.cost(together, lambda: loop.tasks_of_others("tests"), rounds=15)
    check(spent, 0, "task starts", details=f"{loop.tasks}")
