"""The tables of a SQLite inbox, how a connection to them is opened, and how old ones are brought up to date."""

from __future__ import annotations

import os
import shutil
import sqlite3
from enum import IntEnum
from pathlib import Path
from typing import Final

from ...errors import ConfigurationError, InboxUnavailable
from .keys import first_place_of

APPLICATION_ID: Final = 0x53494E42  # "SINB": tells our files from anybody else's
OLDEST_SQLITE: Final = (3, 35, 0)  # the first with RETURNING

# Bytes. A checkpoint copies each page once, however often it was written: the longer the log, the cheaper. On a small
# disk it gets its share of what is free: there must be room left to copy its pages to, or it is never begun anew.
_LOG_SIZE: Final = 128 * 2**20
_LOG_SHARE: Final = 8
_SMALLEST_LOG: Final = 4 * 2**20  # where the disk is full now, it may not be later


class State(IntEnum):
    """What became of a delivery. The numbers are in the file and in its partial indices."""

    READY = 0
    RUNNING = 1
    SCHEDULED = 2
    HELD = 3
    """Behind another delivery of its group. At most one of a group is ready, running or scheduled."""
    DEAD = 4
    DONE = 5


# `at` is the moment that counts in the state: ready since, end of the lease, due at, died at, done at.
# `named_until` is 0 until a delivery is named to a task engine, and again after it was claimed.
# `lost` says that the last run never reported.
# Bodies are apart: states change in small rows, many to a page, and a body goes with its row. So does the trace.
_SCHEMA_1: Final = """
CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    state INTEGER NOT NULL,
    at REAL NOT NULL,
    first_seen REAL NOT NULL,
    named_until REAL NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    fencing INTEGER NOT NULL DEFAULT 0,
    owner INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    grp TEXT,
    created_at INTEGER NOT NULL,
    done TEXT,
    failures TEXT,
    handlers TEXT
);
CREATE TABLE body (seq INTEGER PRIMARY KEY, content BLOB NOT NULL, trace TEXT);
CREATE TABLE counter (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    fencing INTEGER NOT NULL,
    unfinished INTEGER NOT NULL,
    owner INTEGER NOT NULL
);
INSERT INTO counter VALUES (1, 0, 0, 0, 0);
CREATE INDEX ready ON delivery(named_until) WHERE state = 0;
CREATE INDEX due ON delivery(at, state) WHERE state IN (1, 2);
CREATE INDEX held ON delivery(grp, created_at) WHERE state = 3;
CREATE UNIQUE INDEX active_in_group ON delivery(grp) WHERE grp IS NOT NULL AND state < 3;
CREATE INDEX ended ON delivery(state, at) WHERE state >= 4;
"""
# The table has no index of its keys: all but the latest are in a table apart, see keys.py. The next delivery's number
# is so high that all slices count as having had their turns after those that are moved.
_SCHEMA_2: Final = """
CREATE TABLE moved (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    topic TEXT NOT NULL,
    state INTEGER NOT NULL,
    at REAL NOT NULL,
    first_seen REAL NOT NULL,
    named_until REAL NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    fencing INTEGER NOT NULL DEFAULT 0,
    owner INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    grp TEXT,
    created_at INTEGER NOT NULL,
    done TEXT,
    failures TEXT,
    handlers TEXT
);
INSERT INTO moved SELECT * FROM delivery;
DROP TABLE delivery;
ALTER TABLE moved RENAME TO delivery;
CREATE INDEX ready ON delivery(named_until) WHERE state = 0;
CREATE INDEX due ON delivery(at, state) WHERE state IN (1, 2);
CREATE INDEX held ON delivery(grp, created_at) WHERE state = 3;
CREATE UNIQUE INDEX active_in_group ON delivery(grp) WHERE grp IS NOT NULL AND state < 3;
CREATE INDEX ended ON delivery(state, at) WHERE state >= 4;
CREATE TABLE known_key (place INTEGER PRIMARY KEY);
INSERT INTO known_key SELECT first_place_of(key) + seq FROM delivery ORDER BY 1;
ALTER TABLE counter ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
UPDATE counter SET seq = (seq / 1024 + 16) * 1024 WHERE seq > 0;
UPDATE counter SET indexed = seq;
"""
# Twice as many slices. All keys go into the index, and all slices count as having had their turns, as above. The index
# gets another name: a process of the version before, which may run on for a while, can no longer change it.
_SCHEMA_3: Final = """
INSERT OR IGNORE INTO known_key SELECT first_place_of(key) + seq FROM delivery
WHERE seq > (SELECT indexed FROM counter) - 15 * 1024 ORDER BY 1;
ALTER TABLE known_key RENAME TO key_place;
ALTER TABLE counter ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
UPDATE counter SET deleted = seq;
UPDATE counter SET seq = (seq / 1024 + 32) * 1024 WHERE seq > 0;
UPDATE counter SET indexed = seq;
"""

MIGRATIONS: Final = (_SCHEMA_1, _SCHEMA_2, _SCHEMA_3)
"""What brings a file from version N to N + 1. The version is the file's ``user_version``."""


def prepare_file(path: Path) -> None:
    """Create the file, readable and writable only by its owner, unless there is one.

    Raises:
        ConfigurationError: there can be no file at this path.
        InboxUnavailable: it cannot be created now.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigurationError(
            f"The SQLite inbox needs SQLite 3.35 or newer, and this Python has {sqlite3.sqlite_version}: "
            "use a newer Python, or another inbox."
        )
    if not path.parent.is_dir():
        raise ConfigurationError(f"The directory of the inbox file {str(path)!r} does not exist: create it first.")
    if path.is_dir():
        raise ConfigurationError(f"The inbox file {str(path)!r} is a directory: give the path of a file.")
    try:
        # Only a new file is opened and closed here: closing an existing one would drop SQLite's own locks on it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise InboxUnavailable(f"The inbox file {str(path)!r} cannot be created: {error.strerror}") from None


def connect(path: Path, *, busy_timeout: float, writable: bool) -> sqlite3.Connection:
    """Open a connection to an existing file.

    Args:
        path: the file.
        busy_timeout: seconds to wait for other processes that write.
        writable: whether this connection may write.
    """
    uri = f"{path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        if writable:
            _set_up(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is ours, migrate it, and choose how it is written."""
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_NOTADB:
            raise
        raise ConfigurationError(f"{str(path)!r} is not a SQLite database: give the inbox a file of its own.") from None
    if application_id != APPLICATION_ID and (tables or application_id):
        raise ConfigurationError(f"{str(path)!r} is the database of something else: give the inbox a file of its own.")
    if not tables:  # both only work before the first table is there
        # Several bodies to a page: checkpoints, which copy each body of a backlog, take a third of the time.
        connection.execute("PRAGMA page_size = 16384")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise ConfigurationError(f"{str(path)!r} is where SQLite can keep no write-ahead log: use a local disk.")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute("PRAGMA cache_size = -8192")
    connection.execute("PRAGMA temp_store = MEMORY")
    log_size = min(_LOG_SIZE, max(_SMALLEST_LOG, shutil.disk_usage(path.parent).free // _LOG_SHARE))
    page_size = connection.execute("PRAGMA page_size").fetchone()[0]  # older files have smaller pages
    connection.execute(f"PRAGMA wal_autocheckpoint = {log_size // page_size}")
    connection.execute(f"PRAGMA journal_size_limit = {log_size}")
    _migrate(connection, path)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    newest = len(MIGRATIONS)
    if connection.execute("PRAGMA user_version").fetchone()[0] == newest:
        return
    connection.create_function("first_place_of", 1, first_place_of, deterministic=True)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again under the lock: another process may have been first.
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > newest:
            raise ConfigurationError(
                f"{str(path)!r} was written by a newer starlette-intercom (schema {version}, this one knows {newest}): "
                "upgrade, or give this one a file of its own."
            )
        for script in MIGRATIONS[version:]:
            for statement in script.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
