"""What every outbox must do, and what the one in a file must do besides."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from starlette_intercom.errors import ConfigurationError, OutboxFull
from starlette_intercom.events import MemoryOutbox, Outbox, SQLiteOutbox
from starlette_intercom.events.outbox import LEASE

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
async def outbox(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Outbox]:
    made: Outbox
    if request.param == "memory":
        made = MemoryOutbox(max_events=100, clock=clock)
    else:
        made = SQLiteOutbox(tmp_path / "outbox.db", max_events=100, clock=clock)
    await made.open()
    yield made
    await made.aclose()


async def test_what_was_put_first_is_taken_first_and_once(outbox: Outbox) -> None:
    await outbox.put([b"1", b"2", b"3"])
    assert [entry.body for entry in await outbox.take(2)] == [b"1", b"2"]
    assert [entry.body for entry in await outbox.take(2)] == [b"3"]
    assert await outbox.take(2) == []
    assert await outbox.count() == 3


async def test_what_is_done_is_gone(outbox: Outbox, clock: Clock) -> None:
    await outbox.put([b"1", b"2"])
    first, second = await outbox.take(2)
    await outbox.done([first.id, 999])
    await outbox.release([second.id, 999])
    assert await outbox.count() == 1
    assert await outbox.take(2) == [second]


async def test_what_a_dead_process_held_can_be_taken_again(outbox: Outbox, clock: Clock) -> None:
    await outbox.put([b"1", b"2"])
    held = await outbox.take(1)
    clock.now += LEASE - 1
    assert [entry.body for entry in await outbox.take(5)] == [b"2"]
    clock.now += 2
    assert await outbox.take(5) == held


async def test_a_full_outbox_takes_all_or_none(outbox: Outbox) -> None:
    await outbox.put([b"x"] * 60)
    with pytest.raises(OutboxFull):
        await outbox.put([b"x"] * 60)
    assert await outbox.count() == 60
    await outbox.put([b"x"] * 40)


async def test_it_can_be_opened_again(outbox: Outbox) -> None:
    await outbox.put([b"1"])
    await outbox.aclose()
    await outbox.aclose()
    await outbox.open()
    assert await outbox.count() == 1


@pytest.mark.parametrize("max_events", [0, 99])
async def test_an_outbox_smaller_than_a_batch_is_refused(max_events: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        MemoryOutbox(max_events=max_events)
    with pytest.raises(ConfigurationError):
        SQLiteOutbox(tmp_path / "outbox.db", max_events=max_events)


async def test_a_file_is_shared_and_survives(tmp_path: Path, clock: Clock) -> None:
    first, second = (SQLiteOutbox(tmp_path / "outbox.db", clock=clock) for _ in range(2))
    await first.open()
    await second.open()
    await first.put([b"1", b"2", b"3"])
    mine, theirs = await first.take(2), await second.take(2)
    assert [entry.body for entry in mine + theirs] == [b"1", b"2", b"3"]
    await second.done([entry.id for entry in theirs])
    await first.aclose()
    await second.aclose()
    third = SQLiteOutbox(tmp_path / "outbox.db", clock=clock)
    await third.open()
    assert await third.count() == 2
    # The clock of the host was set back: those leases would never end.
    clock.now -= 1_000_000
    assert [entry.body for entry in await third.take(5)] == [b"1", b"2"]
    await third.aclose()


async def test_the_file_is_written_through_and_other_tables_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (id INTEGER)")
    connection.close()
    outbox = SQLiteOutbox(path)
    await outbox.open()
    await outbox.put([b"1"])
    assert outbox._connection is not None
    assert outbox._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert outbox._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await outbox.aclose()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM other").fetchone() == (0,)
    connection.close()


async def test_a_path_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="folder"):
        await SQLiteOutbox(tmp_path / "missing" / "outbox.db").open()
    with pytest.raises(ConfigurationError):
        SQLiteOutbox(":memory:")
