"""What a SQLite inbox opens, and what it refuses."""

# ruff: noqa: ASYNC240 - looking at a small local directory holds nobody up here

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from starlette_intercom.errors import ConfigurationError, InboxUnavailable
from starlette_intercom.inbox.sqlite import SQLiteInbox
from starlette_intercom.testing.conformance_model import notification_for

pytestmark = pytest.mark.anyio


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    inbox = SQLiteInbox(tmp_path / "inbox.db")
    await inbox.open()
    await inbox.accept(notification_for("a"), key="a")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    await inbox.close()
    assert set(modes.values()) == {0o600}, modes
    assert [path.name for path in tmp_path.iterdir()] == ["inbox.db"]


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Remember the milk. " * 300)
    with pytest.raises(ConfigurationError, match="not a SQLite database"):
        await SQLiteInbox(path).open()
    assert path.read_text().startswith("Remember")


async def test_the_database_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="something else"):
        await SQLiteInbox(path).open()
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    inbox = SQLiteInbox(path)
    await inbox.open()
    await inbox.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer starlette-intercom"):
        await inbox.open()
    assert len(list(tmp_path.glob("*-owner-*"))) == 0


async def test_paths_where_no_file_can_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        await SQLiteInbox(tmp_path / "nowhere" / "inbox.db").open()
    with pytest.raises(ConfigurationError, match="is a directory"):
        await SQLiteInbox(tmp_path).open()


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("", {}),
        (":memory:", {}),
        ("inbox.db", {"max_unfinished": 0}),
        ("inbox.db", {"retention": -1}),
        ("inbox.db", {"retention": float("nan")}),
        ("inbox.db", {"busy_timeout": float("inf")}),
    ],
)
async def test_wrong_settings_fail_at_construction(path: str, named: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SQLiteInbox(path, **named)


async def test_an_odd_path_is_only_a_path(tmp_path: Path) -> None:
    path = tmp_path / "100% ?mode=memory #1 ü.db"
    inbox = SQLiteInbox(path)
    await inbox.open()
    assert await inbox.accept(notification_for("a"), key="a")
    await inbox.close()
    assert path.stat().st_size > 0


async def test_it_serves_only_while_it_is_open(tmp_path: Path) -> None:
    inbox = SQLiteInbox(tmp_path / "inbox.db")
    with pytest.raises(InboxUnavailable):
        await inbox.accept(notification_for("a"), key="a")
    await inbox.open()
    await inbox.open()
    assert await inbox.accept(notification_for("a"), key="a")
    await inbox.close()
    await inbox.close()
    with pytest.raises(InboxUnavailable):
        await inbox.stats()
    await inbox.open()
    assert not await inbox.accept(notification_for("a"), key="a")
    await inbox.close()


async def test_what_is_completed_is_erased_and_the_file_shrinks(tmp_path: Path) -> None:
    now = [1_750_000_000.0]
    path = tmp_path / "inbox.db"
    inbox = SQLiteInbox(path, retention=60, clock=lambda: now[0])
    await inbox.open()
    for number in range(60):
        await inbox.accept(notification_for("x" * 100_000), key=str(number))
    for claim in await inbox.claim(60, lease=60):
        await inbox.complete(claim)
    now[0] += 61
    await inbox.tidy()
    assert (await inbox.stats()).done == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM body").fetchone() == (0,)
    connection.close()
    await inbox.close()
    assert path.stat().st_size < 5_000_000
