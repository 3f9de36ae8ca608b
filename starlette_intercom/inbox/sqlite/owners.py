"""Which inboxes on a file are alive: what a dead one holds is free at once, without waiting for the lease to end.

Every open inbox has a number, which its claims carry, and keeps a lock on a small file of that number beside the
database. The system drops the lock with the process, however it dies. Where there are no such locks (Windows), a dead
process's claims become free when their leases end.

All methods but :meth:`Owner.leave` are called under the database's write lock, so that nobody counts as dead between
creating its file and locking it.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Owner:
    """One open inbox among those on a file.

    Args:
        path: the database.

    Attributes:
        number: what its claims are marked with; 0 before :meth:`join`.
    """

    def __init__(self, path: Path) -> None:
        self.number = 0
        self._path = path
        self._locks: dict[int, int] = {}

    def join(self, connection: sqlite3.Connection) -> None:
        """Take a number, and a lock that lasts until :meth:`leave`. Numbers taken before stay locked too."""
        locked = False
        while not locked:
            row = connection.execute("UPDATE counter SET owner = owner + 1 RETURNING owner").fetchall()
            self.number = row[0][0]
            # A number that is in use already comes from a database that was put back from an older copy.
            locked = self._lock(self.number)

    def leave(self) -> None:
        """Give the numbers back: whatever is still claimed under them is free for the next inbox that looks."""
        for number, file in self._locks.items():
            self._file_of(number).unlink(missing_ok=True)
            os.close(file)
        self._locks.clear()

    def free_claims_of_dead(self, connection: sqlite3.Connection, *, now: float) -> bool:
        """End the leases of inboxes that are gone, and return whether there were any."""
        if fcntl is None:
            return False
        rows = connection.execute("SELECT DISTINCT owner FROM delivery WHERE state IN (1, 2) AND state = 1").fetchall()
        abandoned = {number for (number,) in rows if not self._file_of(number).exists()}
        for path in self._path.parent.glob(f"{self._path.name}-owner-*"):
            number = int(path.name.rpartition("-")[2])
            if number not in self._locks and _is_unlocked(path):
                abandoned.add(number)
                path.unlink(missing_ok=True)
        freed = 0
        for number in abandoned - self._locks.keys():
            freed += connection.execute(
                "UPDATE delivery SET at = min(at, ?) WHERE state IN (1, 2) AND state = 1 AND owner = ?", (now, number)
            ).rowcount
        return freed > 0

    def _file_of(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}-owner-{number}")

    def _lock(self, number: int) -> bool:
        if fcntl is None:
            return True
        try:
            file = os.open(self._file_of(number), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileExistsError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise
        self._locks[number] = file
        return True


def _is_unlocked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(file)
