"""The database file as the writer's thread sees it: opened again after trouble, and never written when it is gone."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ...errors import InboxUnavailable
from .keys import Keys
from .owners import Owner
from .schema import connect, prepare_file

# These are about one operation, or about what fits on the disk right now. After any other error, the connection is
# opened again: it may hold pages or files that the disk does not have.
_HARMLESS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_ERROR,
    }
)

_Identity = tuple[int, int]


class DatabaseFile:
    """One connection that writes, in transactions.

    Args:
        path: the file.
        busy_timeout: seconds to wait for other processes that write.

    Attributes:
        owner: this open inbox among those on the file.
        keys: the keys in the file, as the connection knows them.
    """

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        self.path = path
        self.owner = Owner(path)
        self.keys = Keys()
        self._log = path.with_name(path.name + "-wal")
        self._busy_timeout = busy_timeout
        self._connection: sqlite3.Connection | None = None
        self._identity: _Identity | None = None
        self._log_identity: _Identity | None = None

    def open(self, *, now: float) -> None:
        """Create or migrate the file, and free what dead processes had claimed.

        Raises:
            ConfigurationError: the file is not ours, or cannot be used.
            InboxUnavailable: not now.
        """
        prepare_file(self.path)
        try:
            connection = self.begin()
            self.owner.free_claims_of_dead(connection, now=now)
            self.commit(connection)
        except (sqlite3.Error, OSError) as error:
            self.abandon(error)
            raise self.unavailable(error) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file. Where it was removed, leave a copy of it in its place, so that nothing is lost."""
        try:
            if self._connection is not None and not self.path.exists():
                self._put_back()
        finally:
            self._disconnect()
            self._identity = None
            self.owner.leave()

    def begin(self) -> sqlite3.Connection:
        """Begin a transaction that writes, on a new connection where the old one is no longer any good.

        Raises:
            sqlite3.Error, OSError: it cannot begin now.
            ConfigurationError: the file at the path is now something else.
        """
        if self._connection is not None:
            self._check_place(self._connection)
        connection = self._connection or self._connect()
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def commit(self, connection: sqlite3.Connection) -> None:
        """Commit, for good: also in a file that is still in its place.

        Raises:
            sqlite3.Error, OSError: nothing is committed, or only in a file that is gone.
        """
        connection.execute("COMMIT")
        if _identity_of(self.path) != self._identity or _identity_of(self._log) != self._log_identity:
            raise FileNotFoundError("it was removed or replaced")

    def abandon(self, error: Exception) -> bool:
        """Roll back after an error, and give the connection up where the error was about the file.

        Returns:
            Whether it is worth another try: the disk is full, but the log can be written again from its beginning.
        """
        self.keys.undo()
        if self._connection is None:
            return False
        code = error.sqlite_errorcode & 0xFF if isinstance(error, sqlite3.Error) else sqlite3.SQLITE_ERROR
        if code not in _HARMLESS:
            self._disconnect()
            return False
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        return code == sqlite3.SQLITE_FULL and _free_log(self._connection)

    def unavailable(self, error: Exception) -> InboxUnavailable:
        """Return what callers are told about an error."""
        if isinstance(error, OSError):
            error = FileNotFoundError(f"{error.strerror or error}")
        return InboxUnavailable(f"The inbox {str(self.path)!r} cannot be written now: {error}")

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path, busy_timeout=self._busy_timeout, writable=True)
        try:
            identity = _identity_of(self.path)
            if identity != self._identity:
                connection.execute("BEGIN IMMEDIATE")
                self.owner.join(connection)
                connection.execute("COMMIT")
            self._log_identity = _identity_of(self._log)
        except BaseException:
            connection.close()
            raise
        self._connection, self._identity = connection, identity
        self.keys = Keys()
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _check_place(self, connection: sqlite3.Connection) -> None:
        """See to it that what is written next is written to the file that others find.

        Raises:
            FileNotFoundError: there is none now. The connection is kept: it holds the only copy, and the file may
                have been moved away for a moment.
        """
        in_place = _identity_of(self.path) == self._identity
        try:
            in_place = in_place and _identity_of(self._log) == self._log_identity
        except FileNotFoundError:
            in_place = False
        if not in_place:
            # What the log holds goes into the database that it belongs to, wherever that is now.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._disconnect()

    def _put_back(self) -> None:
        assert self._connection is not None  # noqa: S101 - for the type checker
        prepare_file(self.path)
        copy = sqlite3.connect(self.path)
        try:
            self._connection.backup(copy)
        finally:
            copy.close()


def _identity_of(path: Path) -> _Identity:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _free_log(connection: sqlite3.Connection) -> bool:
    """Copy what the log holds to the database; returns whether that was all, so that the next write begins it anew."""
    try:
        busy, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.OperationalError:
        return False  # the database has to grow for it, and cannot either
    return not busy and 0 < pages == copied
