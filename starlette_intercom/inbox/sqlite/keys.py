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

MANY: Final = 16_384
"""So many keys are kept in memory before they go into the index."""

# A place in the index is one number: 24 bits of a hash of the key, which several keys may share, and the delivery's.
# The statements here and in dead.py take the deliveries of a hash as 0x7FFFFFFFFF, 39 bits.
_SEQ_BITS: Final = 39
_HASH_BITS: Final = 24

# Rows of one statement: each number of rows is a statement that SQLite keeps.
_ROWS: Final = 64

_FIND = """
WITH wanted (first) AS (VALUES {}) SELECT key, seq FROM wanted
CROSS JOIN known_key ON place BETWEEN first AND first + 0x7FFFFFFFFF
CROSS JOIN delivery ON seq = place & 0x7FFFFFFFFF
"""


def first_place_of(key: str) -> int:
    """Return where the index begins to have deliveries of a key; each is at this place plus its number."""
    return crc32(key.encode()) >> (32 - _HASH_BITS) << _SEQ_BITS


class Sieve:
    """Tells of most new keys that the index does not have them, without a look at the index: a bit for each hash.

    Args:
        room: how many keys it holds at the most; beyond them, it lets everything pass.
    """

    def __init__(self, room: int = 1 << 20) -> None:
        self._room = room
        self._held = 0
        self._bits = bytearray(1 << _HASH_BITS - 3)

    @property
    def is_full(self) -> bool:
        """Whether it holds too many, some of which may be deleted: time for :meth:`fill`."""
        return self._held >= self._room

    def fill(self, connection: sqlite3.Connection) -> None:
        """Begin again with what the index has."""
        self._held, self._bits = 0, bytearray(len(self._bits))
        self.add(place for (place,) in connection.execute("SELECT place FROM known_key LIMIT ?", (self._room,)))
        if self.is_full:
            self._held, self._bits = 0, bytearray(b"\xff" * len(self._bits))

    def add(self, places: Iterable[int]) -> None:
        """Hold more."""
        bits = self._bits
        for place in places:
            bits[place >> _SEQ_BITS + 3] |= 1 << (place >> _SEQ_BITS & 7)
            self._held += 1

    def may_hold(self, place: int) -> bool:
        """Return whether it is worth a look at the index."""
        return self._bits[place >> _SEQ_BITS + 3] >> (place >> _SEQ_BITS & 7) & 1 == 1


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
            older = [first_place_of(key) + its for key, its in self._recent.items() if its <= indexed]
            self._recent = {key: its for key, its in self._recent.items() if its > indexed}
            self._leave_to_index(connection, older, indexed)

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
            elif self._sieve.may_hold(place := first_place_of(key)):
                older.append(place)
        wanted = set(keys)
        for start in range(0, len(older), _ROWS):
            some = older[start : start + _ROWS]
            rows = connection.execute(_FIND.format(", ".join(["(?)"] * len(some))), some)
            found.update((key, seq) for key, seq in rows if key in wanted)
        return found

    def index(self, connection: sqlite3.Connection) -> int:
        """Add the keys that are in no index yet; returns the last delivery, whose key is in it now."""
        places = sorted([first_place_of(key) + seq for key, seq in self._recent.items()])
        connection.executemany("INSERT INTO known_key VALUES (?)", ((place,) for place in places))
        self._recent.clear()
        self._leave_to_index(connection, places, self._seq)
        return self._seq

    def remove(self, connection: sqlite3.Connection, rows: Sequence[tuple[str, int]]) -> None:
        """Forget keys and numbers of deliveries that were deleted."""
        older: list[int] = []
        for key, seq in rows:
            if seq <= self._indexed:
                older.append(first_place_of(key) + seq)
            elif self._recent.get(key) == seq:
                del self._recent[key]
        connection.executemany("DELETE FROM known_key WHERE place = ?", ((place,) for place in sorted(older)))

    def _leave_to_index(self, connection: sqlite3.Connection, places: list[int], indexed: int) -> None:
        first, self._indexed = not self._indexed, indexed
        if not first:
            self._sieve.add(places)
        if first or self._sieve.is_full:
            self._sieve.fill(connection)
