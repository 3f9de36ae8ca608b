"""How a SQLite inbox finds deliveries by their keys.

Keys come in no order: added one by one, each would change a page of its own of a large index, which is then written
twice, to the log and to the database. So the index of the file (``known_key``) has only keys up to some delivery, and
whoever writes keeps the later ones in memory, as he reads them from the table. When they are many, they go into the
index together, in its order: several to a page.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final
from zlib import crc32

MANY: Final = 8192
"""So many keys are kept in memory before they go into the index."""

# Rows of one statement: each number of rows is a statement that SQLite keeps.
_ROWS: Final = 64

_FIND = "SELECT key, seq FROM delivery WHERE seq IN (SELECT seq FROM known_key WHERE hash IN ({}))"


def hash_of(key: str) -> int:
    """Return the number under which the index has a key: short, and not its alone."""
    return crc32(key.encode()) - 0x8000_0000  # signed, it fits in four bytes


class Sieve:
    """Tells of most new keys that the index does not have them, without a look at the index.

    Args:
        room: how many keys it may hold; with so many, it takes one new key in eight for a known one.
    """

    def __init__(self, room: int = 1 << 20) -> None:
        self._room = room
        self._bits = bytearray(room)  # eight places for each key
        self._held = 0

    @property
    def is_full(self) -> bool:
        """Whether it holds too many, some of which may be deleted: time for :meth:`fill`."""
        return self._held >= self._room

    def fill(self, connection: sqlite3.Connection) -> None:
        """Begin with what the index has. Where that is too much, let everything pass."""
        self._bits, self._held = bytearray(self._room), 0
        self.add(number for (number,) in connection.execute("SELECT hash FROM known_key LIMIT ?", (self._room,)))
        if self.is_full:
            self._bits, self._held = bytearray(b"\xff" * self._room), 0

    def add(self, numbers: Iterable[int]) -> None:
        """Hold more."""
        bits, room = self._bits, self._room
        for number in numbers:
            bits[(number >> 3) % room] |= 1 << (number & 7)
            self._held += 1

    def may_hold(self, number: int) -> bool:
        """Return whether it is worth a look at the index."""
        return self._bits[(number >> 3) % self._room] >> (number & 7) & 1 == 1


class Keys:
    """The keys of a file, for one connection that writes it. All methods are called in its transactions.

    A transaction that is rolled back takes its keys along: begin with a new instance after it.
    """

    def __init__(self) -> None:
        self._recent: dict[str, int] = {}
        self._sieve = Sieve()
        self._indexed = 0
        self._seq = 0

    @property
    def are_many(self) -> bool:
        """Whether it is time to call :meth:`index`."""
        return len(self._recent) >= MANY

    def catch_up(self, connection: sqlite3.Connection, *, indexed: int, seq: int) -> None:
        """Learn what other processes have accepted and indexed.

        Args:
            connection: in a transaction.
            indexed: the last delivery whose key is in the index.
            seq: the last delivery.
        """
        if seq != self._seq:
            # The first time only what is not in the index.
            after = self._seq or indexed
            self._recent.update(connection.execute("SELECT key, seq FROM delivery WHERE seq > ?", (after,)))
            self._seq = seq
        if indexed != self._indexed:
            self._leave_to_index(connection, indexed)

    def add(self, key: str, seq: int) -> None:
        """Note the key of a delivery that is being accepted."""
        self._recent[key] = seq
        self._seq = seq

    def find(self, connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, int]:
        """Return which deliveries have these keys; it may name one that was deleted since."""
        found: dict[str, int] = {}
        older: list[int] = []
        for key in keys:
            seq = self._recent.get(key)
            if seq is not None:
                found[key] = seq
            elif self._sieve.may_hold(number := hash_of(key)):
                older.append(number)
        wanted = set(keys)
        for start in range(0, len(older), _ROWS):
            some = older[start : start + _ROWS]
            rows = connection.execute(_FIND.format(", ".join("?" * len(some))), some)
            found.update((key, seq) for key, seq in rows if key in wanted)
        return found

    def index(self, connection: sqlite3.Connection) -> int:
        """Add the keys that are in no index yet; returns the last delivery, whose key is in it now."""
        connection.execute(
            "INSERT INTO known_key SELECT hash_of_key(key), seq FROM delivery WHERE seq > ? ORDER BY 1",
            (self._indexed,),
        )
        self._leave_to_index(connection, self._seq)
        return self._seq

    def remove(self, connection: sqlite3.Connection, rows: Sequence[tuple[str, int]]) -> None:
        """Take keys and numbers of deleted deliveries out of the index."""
        indexed = sorted((hash_of(key), seq) for key, seq in rows if seq <= self._indexed)
        connection.executemany("DELETE FROM known_key WHERE hash = ? AND seq = ?", indexed)

    def _leave_to_index(self, connection: sqlite3.Connection, indexed: int) -> None:
        if self._indexed:
            self._sieve.add(hash_of(key) for key, seq in self._recent.items() if seq <= indexed)
        if not self._indexed or self._sieve.is_full:
            self._sieve.fill(connection)
        self._recent = {key: seq for key, seq in self._recent.items() if seq > indexed}
        self._indexed = indexed
