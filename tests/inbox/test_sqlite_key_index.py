"""The keys of a SQLite inbox by themselves: in memory, in the index, and after transactions that are rolled back."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from operator import itemgetter

import pytest

from starlette_intercom.inbox.sqlite import keys


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slices, which take turns after every second delivery."""
    monkeypatch.setattr(keys, "STEP", 2)
    monkeypatch.setattr(keys, "SLICES", 2)


@pytest.fixture
def table() -> Iterator[sqlite3.Connection]:
    """The tables that keys are read from and written to."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE key_place (place INTEGER PRIMARY KEY)")
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
        known.catch_up(table, indexed=indexed, deleted=0, seq=seq - 1)
        write(table, known, name, seq)
        indexed = known.index(table)
    assert indexed == 6
    known.catch_up(table, indexed=6, deleted=0, seq=7)
    table.execute("BEGIN")
    write(table, known, names[7], 8)
    assert known.index(table) == 8
    table.execute("ROLLBACK")
    known.undo()

    statements: list[str] = []
    table.set_trace_callback(statements.append)
    known.catch_up(table, indexed=6, deleted=0, seq=7)
    assert statements == []
    assert known.find(table, names) == {name: seq for seq, name in enumerate(names[:7], 1)}
    write(table, known, names[8], 8)
    assert known.index(table) == 8
    known.catch_up(table, indexed=8, deleted=0, seq=8)
    assert known.find(table, names) == {name: seq for seq, name in enumerate([*names[:7], names[8]], 1)}
    assert not any("SELECT key, seq FROM delivery" in statement for statement in statements)


@pytest.mark.usefixtures("few")
def test_keys_of_a_transaction_that_is_in_the_file_after_all_are_known(table: sqlite3.Connection) -> None:
    known = keys.Keys()
    known.catch_up(table, indexed=0, deleted=0, seq=0)
    for seq, name in enumerate(("a", "b", "c"), 1):
        write(table, known, name, seq)
    indexed = known.index(table)
    known.undo()
    known.catch_up(table, indexed=indexed, deleted=0, seq=3)
    assert known.find(table, ["a", "b", "c", "d"]) == {"a": 1, "b": 2, "c": 3}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("last_deleted", [2, 3])
def test_a_turn_looks_for_deliveries_only_where_some_of_them_may_be_deleted(
    table: sqlite3.Connection, last_deleted: int
) -> None:
    known = keys.Keys()
    known.catch_up(table, indexed=0, deleted=0, seq=0)
    for seq in range(1, 6):
        write(table, known, f"key-{seq}", seq)
    indexed = known.index(table)
    known.catch_up(table, indexed=indexed, deleted=0, seq=5)
    for seq in range(1, last_deleted + 1):
        table.execute("DELETE FROM delivery WHERE seq = ?", (seq,))
        known.remove(table, [(f"key-{seq}", seq)])
    assert known.deleted == last_deleted
    write(table, known, "key-6", 6)
    statements: list[str] = []
    table.set_trace_callback(statements.append)
    assert known.index(table) == 6
    (insert,) = statements
    assert ("FROM delivery" in insert) == (last_deleted > 2)


def test_a_sieve_reads_the_index_a_little_at_a_time(table: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "READ_AT_ONCE", 2)
    a, b, c, d, new = sorted(keys.first_place_of(name) for name in "abcde")
    table.executemany("INSERT INTO key_place VALUES (?)", [(place + 1,) for place in (a, b, c)])
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
    table.execute("CREATE TABLE counter (seq INTEGER, indexed INTEGER, deleted INTEGER)")
    table.execute("INSERT INTO counter VALUES (0, 0, 0)")
    for _ in range(80):
        writer = chance.choice(writers)
        table.execute("BEGIN")
        seq, indexed, gone = table.execute("SELECT seq, indexed, deleted FROM counter").fetchone()
        writer.catch_up(table, indexed=indexed, deleted=gone, seq=seq)
        there = dict(table.execute("SELECT key, seq FROM delivery"))
        asked = chance.sample(names, 4)
        found = writer.find(table, asked)
        assert {key: its for key, its in found.items() if its in there.values()} == {
            key: its for key, its in there.items() if key in asked
        }
        for key in set(asked) - there.keys():
            seq += 1
            write(table, writer, key, seq)
        old = sorted(there.items(), key=itemgetter(1))
        deleted = chance.choice([[], old[:2], chance.sample(old, min(2, len(old)))])
        table.executemany("DELETE FROM delivery WHERE key = ? AND seq = ?", deleted)
        writer.remove(table, deleted)
        table.execute(
            "UPDATE counter SET seq = ?, indexed = ?, deleted = ?", (seq, writer.index(table), writer.deleted)
        )
        outcome = chance.choice(["committed", "committed", "rolled back", "committed, but not known to be"])
        table.execute("ROLLBACK" if outcome == "rolled back" else "COMMIT")
        if outcome != "committed":
            writer.undo()

        key = chance.choice(names)
        may = f"SELECT seq FROM delivery WHERE key = :key AND {keys.MAY_HAVE_KEY}"  # noqa: S608 - our own SQL
        assert table.execute(may, {**keys.parameters_for(key), "key": key}).fetchall() == [
            (its,) for (its,) in table.execute("SELECT seq FROM delivery WHERE key = ?", (key,))
        ]
    of_none = "SELECT count(*) FROM key_place WHERE place & ? NOT IN (SELECT seq FROM delivery)"
    assert table.execute(of_none, ((1 << 39) - 1,)).fetchone() == (0,)
