"""How a SQLite inbox knows keys: in the file, in memory, from an older file, and from other processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from starlette_intercom.errors import LeaseLost
from starlette_intercom.inbox.contract import Claim
from starlette_intercom.inbox.sqlite import SQLiteInbox, keys
from starlette_intercom.inbox.sqlite.schema import APPLICATION_ID, MIGRATIONS
from starlette_intercom.testing.conformance_model import notification_for

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox.db"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slices, which take turns after every second delivery."""
    monkeypatch.setattr(keys, "STEP", 2)
    monkeypatch.setattr(keys, "SLICES", 2)


@pytest.fixture
def all_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fourth delivery takes itself and the three before it into the index."""
    monkeypatch.setattr(keys, "STEP", 4)
    monkeypatch.setattr(keys, "SLICES", 1)


async def accept(inbox: SQLiteInbox, key: str) -> bool:
    return await inbox.accept(notification_for(key), key=key)


def indexed_in(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        count: int = connection.execute("SELECT count(*) FROM key_place").fetchone()[0]
    connection.close()
    return count


def write_old_file(path: Path, version: int, *, seqs: Sequence[int], waiting: int) -> sqlite3.Connection:
    """Write a file of an old version: the first few deliveries wait, the others are done."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function("first_place_of", 1, keys.first_place_of)
    connection.executescript("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;" + MIGRATIONS[0])
    for seq in seqs:
        state = 0 if seq in seqs[:waiting] else 5
        connection.execute(
            "INSERT INTO delivery (seq, key, topic, state, at, first_seen, created_at) VALUES (?, ?, '', ?, 1, 1, 1)",
            (seq, f"old-{seq}", state),
        )
        if state == 0:
            body = notification_for(f"old-{seq}").raw
            connection.execute("INSERT INTO body (seq, content) VALUES (?, ?)", (seq, body))
    for migration in MIGRATIONS[1:version]:
        connection.executescript(migration)
    connection.execute("UPDATE counter SET seq = ?, unfinished = ?", (seqs[-1], waiting))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    return connection


async def check_old_file(path: Path, *, seqs: Sequence[int], waiting: int) -> None:
    inbox = SQLiteInbox(path)
    await inbox.open()
    assert [await accept(inbox, f"old-{seq}") for seq in seqs] == [False] * len(seqs)
    assert await accept(inbox, "new")
    claims = await inbox.claim(len(seqs), lease=60)
    assert [claim.delivery.id for claim in claims] == [*(f"old-{seq}" for seq in seqs[:waiting]), "new"]
    for claim in claims:
        await inbox.complete(claim)
    stats = await inbox.stats()
    assert (stats.waiting, stats.running, stats.done) == (0, 0, len(seqs) + 1)
    await inbox.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_a_file_of_version_1_keeps_its_deliveries_and_knows_its_keys(path: Path) -> None:
    seqs = range(1, 8)
    write_old_file(path, 1, seqs=seqs, waiting=4).close()
    await check_old_file(path, seqs=seqs, waiting=4)


async def test_a_file_of_version_2_knows_keys_that_were_not_in_its_index(path: Path) -> None:
    indexed = 20 * 1024
    seqs = [1, 2, *range(4 * 1024, 22 * 1024, 97)]
    connection = write_old_file(path, 2, seqs=seqs, waiting=3)
    connection.execute("UPDATE counter SET indexed = ?", (indexed,))
    connection.execute("DELETE FROM known_key")
    for seq in seqs:
        place = keys.first_place_of(f"old-{seq}") + seq
        slice_of = place * 16 >> 63
        last_turn = indexed - (indexed // 1024 - slice_of) % 16 * 1024
        if seq <= last_turn:
            connection.execute("INSERT INTO known_key VALUES (?)", (place,))
    (count,) = connection.execute("SELECT count(*) FROM known_key").fetchone()
    assert 50 < count < len(seqs) - 50
    connection.close()
    await check_old_file(path, seqs=seqs, waiting=3)
    assert indexed_in(path) == len(seqs)


async def test_a_process_of_version_2_cannot_change_the_index_after_the_file_was_migrated(path: Path) -> None:
    old = write_old_file(path, 2, seqs=[1], waiting=1)
    inbox = SQLiteInbox(path)
    await inbox.open()
    for statement in ("SELECT place FROM known_key", "INSERT OR IGNORE INTO known_key VALUES (1)"):
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            old.execute(statement)
    old.close()
    await inbox.close()


@pytest.mark.usefixtures("few")
async def test_keys_are_known_in_the_index_in_memory_and_after_a_restart(path: Path) -> None:
    inbox = SQLiteInbox(path)
    await inbox.open()
    names = [f"key-{number}" for number in range(8)]
    assert [await accept(inbox, name) for name in names] == [True] * 8
    assert indexed_in(path) == 6
    assert [await accept(inbox, name) for name in names] == [False] * 8
    await inbox.close()
    await inbox.open()
    assert [await accept(inbox, name) for name in names] == [False] * 8
    assert (await inbox.stats()).waiting == 8
    await inbox.close()


@pytest.mark.usefixtures("few")
async def test_inboxes_on_one_file_know_what_the_others_accepted_and_indexed(path: Path) -> None:
    one, other = SQLiteInbox(path), SQLiteInbox(path)
    await one.open()
    await other.open()
    for number in range(10):
        first, second = (one, other) if number % 3 else (other, one)
        assert await accept(first, f"key-{number}")
        assert not await accept(second, f"key-{number}")
    for number in range(10):
        assert not await accept(one, f"key-{number}")
        assert not await accept(other, f"key-{number}")
    claims = await one.claim(10, lease=60)
    for claim in claims:
        await other.complete(claim)
    assert (await one.stats()).done == 10
    await one.close()
    await other.close()


@pytest.mark.usefixtures("all_of_four")
async def test_a_purged_key_is_new_again_for_every_inbox(path: Path) -> None:
    one, other = SQLiteInbox(path), SQLiteInbox(path)
    await one.open()
    await other.open()
    for name in ("a", "b", "c", "d", "e"):
        assert await accept(one, name)
        assert not await accept(other, name)
    for claim in await one.claim(5, lease=60):
        await one.bury(claim, handlers=("h",), done=frozenset(), failures=())
    assert indexed_in(path) == 4
    for name in ("a", "e"):  # one in the index, one in memory
        letter = await other.get_dead(name)
        assert letter is not None
        assert letter.id == name
        assert await one.purge(id=name) == 1
        assert await other.get_dead(name) is None
        assert await accept(other, name)
        assert not await accept(one, name)
    await one.close()
    await other.close()


@pytest.mark.usefixtures("few")
async def test_keys_of_one_hash_are_different_keys(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "first_place_of", lambda key: 0)
    inbox = SQLiteInbox(path)
    await inbox.open()
    names = ["a", "b", "c", "d"]
    assert [await accept(inbox, name) for name in names] == [True] * 4
    assert [await accept(inbox, name) for name in names] == [False] * 4
    assert [claim.delivery.id for claim in await inbox.claim(1, lease=60, ids=["c"])] == ["c"]
    for claim in await inbox.claim(4, lease=60):
        await inbox.complete(claim)
    assert (await inbox.stats()).running == 1
    await inbox.close()


@pytest.mark.usefixtures("few")
async def test_the_index_forgets_with_the_retention(path: Path) -> None:
    now = [1_750_000_000.0]
    inbox = SQLiteInbox(path, retention=60, clock=lambda: now[0])
    await inbox.open()
    for name in ("a", "b", "c", "d"):
        await accept(inbox, name)
    for claim in await inbox.claim(4, lease=60):
        await inbox.complete(claim)
    now[0] += 61
    await inbox.tidy()
    assert indexed_in(path) == 0
    assert [await accept(inbox, name) for name in ("a", "d")] == [True, True]
    await inbox.close()


@pytest.mark.usefixtures("all_of_four")
async def test_what_another_inbox_deleted_does_not_come_into_the_index(path: Path) -> None:
    one, other = SQLiteInbox(path), SQLiteInbox(path, retention=0)
    await one.open()
    await other.open()
    for name in ("a", "b"):
        assert await accept(one, name)
    for claim in await one.claim(2, lease=60):
        await one.complete(claim)
    await other.tidy()
    for name in ("c", "d"):
        assert await accept(one, name)
    assert indexed_in(path) == 2
    assert [await accept(one, name) for name in ("a", "c", "d")] == [True, False, False]
    await one.close()
    await other.close()


@pytest.mark.usefixtures("few")
async def test_what_fails_is_not_known_and_what_others_wrote_meanwhile_is(path: Path) -> None:
    one, other = SQLiteInbox(path), SQLiteInbox(path)
    await one.open()
    await other.open()
    for number in range(6):
        name = f"key-{number}"
        with pytest.raises(UnicodeEncodeError):
            await one.accept(notification_for(name), key=name, trace="\ud800")
        assert await accept(other, f"other-{number}")
        assert not await accept(one, f"other-{number}")
        assert await accept(one, name)
        assert not await accept(other, name)
        assert not await accept(one, name)
    assert (await one.stats()).waiting == 12
    await one.close()
    await other.close()


@pytest.mark.usefixtures("few")
async def test_an_inbox_knows_what_was_accepted_and_indexed_while_it_did_nothing(path: Path) -> None:
    one, other = SQLiteInbox(path), SQLiteInbox(path)
    await one.open()
    await other.open()
    names = [f"key-{number}" for number in range(20)]
    assert await accept(one, "first")
    for name in names:
        assert await accept(other, name)
    assert indexed_in(path) > 15
    assert [await accept(one, name) for name in ["first", *names]] == [False] * 21
    await one.close()
    await other.close()


@pytest.mark.usefixtures("few")
async def test_a_claim_that_was_made_anew_is_found_by_its_key(path: Path) -> None:
    inbox = SQLiteInbox(path)
    await inbox.open()
    for number in range(6):
        await accept(inbox, f"key-{number}")
    for claim in await inbox.claim(6, lease=60):
        await inbox.complete(Claim(delivery=claim.delivery, notification=claim.notification))
        with pytest.raises(LeaseLost):
            await inbox.complete(Claim(delivery=claim.delivery, notification=claim.notification))
    assert (await inbox.stats()).done == 6
    await inbox.close()
