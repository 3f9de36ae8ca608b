"""How a SQLite inbox knows keys: in the file, in memory, from an older file, and from other processes."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
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
        count: int = connection.execute("SELECT count(*) FROM known_key").fetchone()[0]
    connection.close()
    return count


def write_version_1(path: Path, *, waiting: int, done: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;" + MIGRATIONS[0])
    for seq in range(1, waiting + done + 1):
        state = 0 if seq <= waiting else 5
        connection.execute(
            "INSERT INTO delivery (seq, key, topic, state, at, first_seen, created_at) VALUES (?, ?, '', ?, 1, 1, 1)",
            (seq, f"old-{seq}", state),
        )
        if state == 0:
            body = notification_for(f"old-{seq}").raw
            connection.execute("INSERT INTO body (seq, content) VALUES (?, ?)", (seq, body))
    connection.execute("UPDATE counter SET seq = ?, unfinished = ?", (waiting + done, waiting))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()


async def test_a_file_of_version_1_keeps_its_deliveries_and_knows_its_keys(path: Path) -> None:
    write_version_1(path, waiting=4, done=3)
    inbox = SQLiteInbox(path)
    await inbox.open()
    assert [await accept(inbox, f"old-{seq}") for seq in range(1, 8)] == [False] * 7
    assert await accept(inbox, "new")
    claims = await inbox.claim(10, lease=60)
    assert [claim.delivery.id for claim in claims] == ["old-1", "old-2", "old-3", "old-4", "new"]
    for claim in claims:
        await inbox.complete(claim)
    stats = await inbox.stats()
    assert (stats.waiting, stats.running, stats.done) == (0, 0, 8)
    await inbox.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


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


@pytest.fixture
def table() -> Iterator[sqlite3.Connection]:
    """The tables that keys are read from and written to."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE known_key (place INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE delivery (seq INTEGER PRIMARY KEY, key TEXT)")
    yield connection
    connection.close()


def write(connection: sqlite3.Connection, known: keys.Keys, name: str, seq: int) -> None:
    connection.execute("INSERT INTO delivery VALUES (?, ?)", (seq, name))
    known.add(name, seq)


@pytest.mark.usefixtures("few")
def test_a_turn_that_is_rolled_back_is_taken_again_without_reading_all_keys(table: sqlite3.Connection) -> None:
    known = keys.Keys()
    indexed = 0
    names = [f"key-{number}" for number in range(9)]
    for seq, name in enumerate(names[:7], 1):
        known.catch_up(table, indexed=indexed, seq=seq - 1)
        write(table, known, name, seq)
        indexed = known.index(table)
    assert indexed == 6
    known.catch_up(table, indexed=6, seq=7)
    table.execute("BEGIN")
    write(table, known, names[7], 8)
    assert known.index(table) == 8
    table.execute("ROLLBACK")
    known.undo()

    statements: list[str] = []
    table.set_trace_callback(statements.append)
    known.catch_up(table, indexed=6, seq=7)
    assert statements == []
    assert known.find(table, names) == {name: seq for seq, name in enumerate(names[:7], 1)}
    write(table, known, names[8], 8)
    assert known.index(table) == 8
    known.catch_up(table, indexed=8, seq=8)
    assert known.find(table, names) == {name: seq for seq, name in enumerate([*names[:7], names[8]], 1)}
    assert not any("SELECT key, seq FROM delivery" in statement for statement in statements)


@pytest.mark.usefixtures("few")
def test_keys_of_a_transaction_that_is_in_the_file_after_all_are_known(table: sqlite3.Connection) -> None:
    known = keys.Keys()
    known.catch_up(table, indexed=0, seq=0)
    for seq, name in enumerate(("a", "b", "c"), 1):
        write(table, known, name, seq)
    indexed = known.index(table)
    known.undo()
    known.catch_up(table, indexed=indexed, seq=3)
    assert known.find(table, ["a", "b", "c", "d"]) == {"a": 1, "b": 2, "c": 3}


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


def test_a_sieve_reads_the_index_a_little_at_a_time(table: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "READ_AT_ONCE", 2)
    a, b, c, d, new = sorted(keys.first_place_of(name) for name in "abcde")
    table.executemany("INSERT INTO known_key VALUES (?)", [(place + 1,) for place in (a, b, c)])
    sieve = keys.Sieve(room=4)
    held = []
    for _ in range(2):
        sieve.read_on(table)
        held.append([sieve.may_hold(place) for place in (a, b, c, d, new)])
    assert held == [[True, True, True, True, True], [True, True, True, False, False]]

    sieve.add([d + 1] * 4)  # too many, and none of them is in the index
    assert sieve.may_hold(d)
    for _ in range(3):
        sieve.read_on(table)
    assert [sieve.may_hold(place) for place in (a, b, c, d, new)] == [True, True, True, False, False]


@pytest.mark.parametrize("seed", range(60))
def test_several_writers_always_find_what_is_in_the_file(
    table: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    for name, value in (("STEP", chance.choice([1, 2, 5])), ("SLICES", chance.randint(1, 4)), ("READ_AT_ONCE", 3)):
        monkeypatch.setattr(keys, name, value)
    if seed % 3 == 0:  # nearly all keys have the hash of others
        monkeypatch.setattr(keys, "first_place_of", lambda key: len(key) << 61)
    writers = [keys.Keys() for _ in range(chance.randint(1, 3))]
    names = [str(number) for number in range(30)]
    table.execute("CREATE TABLE counter (seq INTEGER, indexed INTEGER)")
    table.execute("INSERT INTO counter VALUES (0, 0)")
    for _ in range(80):
        writer = chance.choice(writers)
        table.execute("BEGIN")
        seq, indexed = table.execute("SELECT seq, indexed FROM counter").fetchone()
        writer.catch_up(table, indexed=indexed, seq=seq)
        there = dict(table.execute("SELECT key, seq FROM delivery"))
        asked = chance.sample(names, 4)
        found = writer.find(table, asked)
        assert {key: its for key, its in found.items() if its in there.values()} == {
            key: its for key, its in there.items() if key in asked
        }
        for key in set(asked) - there.keys():
            seq += 1
            write(table, writer, key, seq)
        deleted = chance.sample(sorted(there.items()), min(2, len(there)))
        table.executemany("DELETE FROM delivery WHERE key = ? AND seq = ?", deleted)
        writer.remove(table, deleted)
        table.execute("UPDATE counter SET seq = ?, indexed = ?", (seq, writer.index(table)))
        outcome = chance.choice(["committed", "committed", "rolled back", "committed, but not known to be"])
        table.execute("ROLLBACK" if outcome == "rolled back" else "COMMIT")
        if outcome != "committed":
            writer.undo()

        key = chance.choice(names)
        may = f"SELECT seq FROM delivery WHERE key = :key AND {keys.MAY_HAVE_KEY}"  # noqa: S608 - our own SQL
        assert table.execute(may, {**keys.parameters_for(key), "key": key}).fetchall() == [
            (its,) for (its,) in table.execute("SELECT seq FROM delivery WHERE key = ?", (key,))
        ]
    of_none = "SELECT count(*) FROM known_key WHERE place & ? NOT IN (SELECT seq FROM delivery)"
    assert table.execute(of_none, ((1 << 39) - 1,)).fetchone() == (0,)
