"""How a SQLite inbox finds deliveries by their keys.

Keys come in no order: added one by one, each would change a page of its own of a large index, which is then written
twice, to the log and to the database. So whoever writes keeps the latest keys in memory, as he reads them from the
table, and they go into the index of the file (``key_place``) in order and together: several to a page.

An index of the places in order has slices. After every ``STEP`` deliveries, one slice takes what there is for it, and
then it is the turn of the next. Whose turn it was last, and so which keys are in the index and which are not, follows
from one number that the file keeps (``counter.indexed``).

A delivery that was deleted before its slice's turn must stay outside. A turn that looked for each of its deliveries
would read every page of the latest ones, mostly in vain, since it is old ones that are deleted. So the file keeps which
was the last of those deleted (``counter.deleted``), and only a turn that goes back that far looks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from zlib import crc32

import msgspec

STEP: Final = 1024
"""So many deliveries lie between the turns of two slices. Files depend on it, as they do on ``SLICES``."""

SLICES: Final = 32
"""Slices of the index. A slice gets about as many keys at a time as there are in a step.

More slices change fewer pages for each key, and leave more keys to memory: about 200 bytes each.
"""

# A place in the index is one number: 24 bits of a hash of the key, which several keys may share, and the delivery's.
_SEQ_BITS: Final = 39
_HASH_BITS: Final = 24
_SEQ: Final = (1 << _SEQ_BITS) - 1
_END: Final = 1 << _HASH_BITS + _SEQ_BITS

READ_AT_ONCE: Final = 256
"""So many places are read from the index in one transaction: a million in the first 4,000, 0.15 ms each."""

# Rows of one statement: each number of rows is a statement that SQLite keeps.
_ROWS: Final = 64

_FIND = f"""
WITH wanted (first) AS (VALUES {{}}) SELECT key, seq FROM wanted
CROSS JOIN key_place ON place BETWEEN first AND first + {_SEQ}
CROSS JOIN delivery ON seq = place & {_SEQ}
"""  # noqa: S608 - our own SQL

_INDEX = "INSERT OR IGNORE INTO key_place SELECT value FROM json_each(?)"
_UNLESS_DELETED = f" WHERE EXISTS (SELECT 1 FROM delivery WHERE seq = value & {_SEQ})"  # noqa: S608 - our own SQL

MAY_HAVE_KEY = f"""(
    seq IN (SELECT place & {_SEQ} FROM key_place WHERE place BETWEEN :first AND :first + {_SEQ})
    OR seq > (SELECT indexed FROM counter) - :late
)"""  # noqa: S608 - our own SQL
"""The condition, in SQL, for deliveries that may have a key: to be joined with what asks for the key itself."""


def first_place_of(key: str) -> int:
    """Return where the index begins to have deliveries of a key; each is at this place plus its number."""
    return crc32(key.encode()) >> (32 - _HASH_BITS) << _SEQ_BITS


def parameters_for(key: str) -> dict[str, int]:
    """Return the parameters of ``MAY_HAVE_KEY``."""
    return {"first": first_place_of(key), "late": _late()}


class Sieve:
    """Tells of most new keys that the index does not have them, without a look at it: a bit for each hash.

    It reads what the index has a little at a time, and lets pass what it has not come to.

    Args:
        room: when it holds so many, and twice what it has read, it reads again: most may be deleted.
    """

    def __init__(self, room: int = 1 << 20) -> None:
        self._room = room
        self._begin()

    def _begin(self) -> None:
        self._bits = bytearray(1 << _HASH_BITS - 3)
        self._held = 0
        self._unread = 0

    def read_on(self, connection: sqlite3.Connection) -> None:
        """Read some more, or begin again."""
        if self._unread < _END:
            rows = connection.execute(
                "SELECT place FROM key_place WHERE place >= ? ORDER BY place LIMIT ?", (self._unread, READ_AT_ONCE)
            ).fetchall()
            self.add([place for (place,) in rows])
            self._unread = rows[-1][0] + 1 if len(rows) == READ_AT_ONCE else _END
            self._room = max(self._room, 2 * self._held)
        elif self._held > self._room:
            self._begin()

    def add(self, places: Iterable[int]) -> None:
        """Hold more."""
        bits = self._bits
        for place in places:
            bits[place >> _SEQ_BITS + 3] |= 1 << (place >> _SEQ_BITS & 7)
            self._held += 1

    def may_hold(self, place: int) -> bool:
        """Return whether it is worth a look at the index."""
        return place >= self._unread or self._bits[place >> _SEQ_BITS + 3] >> (place >> _SEQ_BITS & 7) & 1 == 1


class Keys:
    """The keys of a file, for one connection that writes it. All methods are called in its transactions.

    Attributes:
        deleted: the last delivery that was ever deleted; 0 where none was.
    """

    def __init__(self) -> None:
        self.deleted = 0
        # For each slice, the places of the keys that it does not have yet. They may be of deleted deliveries.
        self._recent: list[dict[str, int]] = [{} for _ in range(SLICES)]
        self._sieve = Sieve()
        self._indexed = 0
        self._seq = 0
        self._seq_before = 0
        self._added: list[str] = []

    def catch_up(self, connection: sqlite3.Connection, *, indexed: int, deleted: int, seq: int) -> None:
        """Learn what has been accepted, indexed and deleted before this transaction, by this process and by others.

        Args:
            connection: at the beginning of a transaction.
            indexed: the delivery after which a slice had its last turn.
            deleted: the last delivery that was deleted.
            seq: the last delivery.
        """
        self._added.clear()
        self.deleted = deleted
        if indexed != self._indexed:
            for turn in range(max(self._indexed, indexed - SLICES * STEP) + STEP, indexed + STEP, STEP):
                number = turn // STEP % SLICES
                recent = self._recent[number]
                self._sieve.add([place for place in recent.values() if place & _SEQ <= turn])
                self._recent[number] = {key: place for key, place in recent.items() if place & _SEQ > turn}
            self._indexed = indexed
        if seq != self._seq:
            after = max(self._seq, indexed - _late())
            if after > self._seq:
                self._sieve = Sieve()
            for key, its in connection.execute("SELECT key, seq FROM delivery WHERE seq > ?", (after,)):
                self._keep(key, first_place_of(key) + its)
            self._seq = seq
        self._seq_before = seq
        self._sieve.read_on(connection)

    def add(self, key: str, seq: int) -> None:
        """Note the key of a delivery that is being accepted."""
        place = first_place_of(key) + seq
        self._recent[_slice_of(place)][key] = place
        self._added.append(key)
        self._seq = seq

    def undo(self) -> None:
        """Take back what was added in a transaction that was given up.

        It does no harm where the transaction is in the file after all: the next one reads again what is new.
        """
        for key in self._added:
            self._recent[_slice_of(first_place_of(key))].pop(key, None)
        self._added.clear()
        self._seq = self._seq_before

    def find(self, connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, int]:
        """Return which deliveries have these keys; it may name one that was deleted since."""
        found: dict[str, int] = {}
        older: list[int] = []
        for key in keys:
            first = first_place_of(key)
            place = self._recent[_slice_of(first)].get(key)
            if place is not None:
                found[key] = place & _SEQ
            elif self._sieve.may_hold(first):
                older.append(first)
        wanted = set(keys)
        for start in range(0, len(older), _ROWS):
            some = older[start : start + _ROWS]
            rows = connection.execute(_find(len(some)), some)
            found.update((key, seq) for key, seq in rows if key in wanted)
        return found

    def index(self, connection: sqlite3.Connection) -> int:
        """Give slices their turns, if it is time; returns the delivery after which one had its last."""
        turn = self._indexed
        while turn + STEP <= self._seq:
            turn += STEP
            before = turn - SLICES * STEP
            recent = self._recent[turn // STEP % SLICES]
            places = sorted([place for place in recent.values() if before < place & _SEQ <= turn])
            statement = _INDEX if self.deleted <= before else _INDEX + _UNLESS_DELETED
            connection.execute(statement, (msgspec.json.encode(places).decode(),))
        return turn

    def remove(self, connection: sqlite3.Connection, rows: Sequence[tuple[str, int]]) -> None:
        """Take keys and numbers of deliveries that were deleted out of the index."""
        # Those that are in memory stay there until their slice has its turn, which leaves them out.
        self.deleted = max([self.deleted, *(seq for _, seq in rows)])
        places = sorted([first_place_of(key) + seq for key, seq in rows])
        connection.executemany("DELETE FROM key_place WHERE place = ?", [(place,) for place in places])

    def _keep(self, key: str, place: int) -> None:
        number = _slice_of(place)
        ago = (self._indexed // STEP - number) % SLICES
        if place & _SEQ > self._indexed - ago * STEP:
            self._recent[number][key] = place
        else:
            self._sieve.add((place,))


def _late() -> int:
    """Return how many deliveries before ``indexed`` may not be in the index yet."""
    return (SLICES - 1) * STEP


def _slice_of(place: int) -> int:
    return place * SLICES >> _HASH_BITS + _SEQ_BITS


@lru_cache
def _find(count: int) -> str:
    return _FIND.format(", ".join(["(?)"] * count))
