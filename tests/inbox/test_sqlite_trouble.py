"""Trouble with the file: while it lasts nothing is accepted, nothing is lost, and it passes without a restart."""

# ruff: noqa: ASYNC240 - looking at a small local directory holds nobody up here

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from starlette_intercom.errors import InboxUnavailable
from starlette_intercom.inbox.contract import Claim
from starlette_intercom.inbox.sqlite import SQLiteInbox, keys
from starlette_intercom.testing.conformance_model import notification_for

from .sqlite_support import HOLD_WRITE_LOCK, end, read_line, start

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox.db"


@pytest.fixture
async def inbox(path: Path) -> AsyncIterator[SQLiteInbox]:
    inbox = SQLiteInbox(path, busy_timeout=0.3)
    await inbox.open()
    yield inbox
    await inbox.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "disk"
    directory.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", directory], capture_output=True).returncode:
        pytest.skip("no permission to mount a small disk")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def remount(directory: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", directory], check=True)


async def waiting_in(path: Path) -> set[str]:
    """What somebody else finds in the file."""
    other = SQLiteInbox(path)
    await other.open()
    claims = await other.claim(1000, lease=60)
    for claim in claims:
        await other.release(claim, done=frozenset(), failures=())
    await other.close()
    return {claim.delivery.id for claim in claims}


async def test_a_file_that_stays_locked(inbox: SQLiteInbox, path: Path) -> None:
    process = start(HOLD_WRITE_LOCK, path)
    try:
        assert await anyio.to_thread.run_sync(read_line, process) == "locked"
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await anyio.sleep(0.01)
                turns += 1

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(count_turns)
                with pytest.raises(InboxUnavailable, match="locked"):
                    await inbox.accept(notification_for("a"), key="a")
                tasks.cancel_scope.cancel()
        assert turns > 5, "the event loop went on"
    finally:
        end(process)
    assert await inbox.accept(notification_for("a"), key="a")


async def test_who_gives_up_while_the_file_is_locked_leaves_nothing_behind(path: Path) -> None:
    inbox = SQLiteInbox(path, busy_timeout=30)
    await inbox.open()
    process = start(HOLD_WRITE_LOCK, path)
    try:
        assert await anyio.to_thread.run_sync(read_line, process) == "locked"
        with anyio.move_on_after(0.2) as scope:
            await inbox.accept(notification_for("a"), key="a")
        assert scope.cancelled_caught
    finally:
        end(process)
    assert await inbox.accept(notification_for("b"), key="b")
    assert [claim.delivery.id for claim in await inbox.claim(9, lease=60)] == ["b"]
    await inbox.close()


async def test_what_is_being_written_is_not_given_up(inbox: SQLiteInbox) -> None:
    outcomes: list[tuple[str, bool]] = []

    async def accept(key: str) -> None:
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel, scope)
            outcomes.append((key, await inbox.accept(notification_for(key), key=key)))

    async def cancel(scope: anyio.CancelScope) -> None:
        scope.cancel()

    for number in range(200):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept, str(number))
    recorded = {claim.delivery.id for claim in await inbox.claim(1000, lease=60)}
    assert recorded == {key for key, new in outcomes if new}


@pytest.mark.parametrize("step", [keys.STEP, 1])
async def test_a_full_disk(small_disk: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(keys, "STEP", step)  # with 1, each transaction changes the index of keys, too
    inbox = SQLiteInbox(small_disk / "inbox.db")
    await inbox.open()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    accepted = set()

    async def fill() -> None:
        for number in range(1000):
            await inbox.accept(notification_for("x" * 10_000), key=str(number))
            accepted.add(str(number))

    with pytest.raises(InboxUnavailable):
        await fill()
    with pytest.raises(InboxUnavailable):
        await inbox.accept(notification_for("x" * 10_000), key="later")
    ballast.unlink()
    assert await inbox.accept(notification_for("x" * 10_000), key="later")
    assert not any([await inbox.accept(notification_for("x" * 10_000), key=key) for key in [*accepted, "later"]])
    assert {claim.delivery.id for claim in await inbox.claim(1000, lease=60)} == accepted | {"later"}
    await inbox.close()


async def handle(inbox: SQLiteInbox, count: int) -> None:
    """Accept and complete so many, one after the other: 80 KB of log each."""
    for number in range(count):
        assert await inbox.accept(notification_for("x" * 3000), key=f"key-{number}")
        (claim,) = await inbox.claim(1, lease=60)
        await inbox.complete(claim)


async def test_the_log_of_handled_notifications_does_not_fill_a_small_disk(small_disk: Path) -> None:
    remount(small_disk, "size=8m")
    inbox = SQLiteInbox(small_disk / "inbox.db")
    await inbox.open()
    await handle(inbox, 200)
    assert (small_disk / "inbox.db-wal").stat().st_size < 5_000_000
    await inbox.close()


async def test_a_disk_that_others_have_filled_serves_as_long_as_there_is_room_in_the_file(small_disk: Path) -> None:
    remount(small_disk, "size=8m")
    inbox = SQLiteInbox(small_disk / "inbox.db", retention=0)
    await inbox.open()
    claims: list[Claim] = []
    for number in range(50):  # leaves free pages in the file
        await inbox.accept(notification_for("x" * 10_000), key=f"first-{number}")
        claims += await inbox.claim(1, lease=60)
    for claim in claims:
        await inbox.complete(claim)
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    await handle(inbox, 200)
    await inbox.close()


async def test_a_disk_that_fails_to_write(inbox: SQLiteInbox, path: Path) -> None:
    assert await inbox.accept(notification_for("a"), key="a")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InboxUnavailable):
            await inbox.accept(notification_for("x" * 200_000), key="b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await inbox.accept(notification_for("x" * 200_000), key="b")
    assert await waiting_in(path) == {"a", "b"}


async def test_a_disk_that_is_read_only_at_the_start(small_disk: Path) -> None:
    inbox = SQLiteInbox(small_disk / "inbox.db")
    await inbox.open()
    await inbox.accept(notification_for("a"), key="a")
    await inbox.close()
    remount(small_disk, "ro")
    with pytest.raises(InboxUnavailable):
        await inbox.open()
    remount(small_disk, "rw")
    await inbox.open()
    assert not await inbox.accept(notification_for("a"), key="a")
    await inbox.close()


async def test_a_file_that_is_moved_away_and_comes_back(inbox: SQLiteInbox, path: Path) -> None:
    assert await inbox.accept(notification_for("a"), key="a")
    path.rename(path.with_name("moved"))
    with pytest.raises(InboxUnavailable):
        await inbox.accept(notification_for("b"), key="b")
    with pytest.raises(InboxUnavailable):
        await inbox.stats()
    path.with_name("moved").rename(path)
    assert await inbox.accept(notification_for("b"), key="b")
    assert await waiting_in(path) == {"a", "b"}


async def test_a_file_that_is_removed_is_put_back_at_the_end(path: Path) -> None:
    inbox = SQLiteInbox(path)
    await inbox.open()
    assert await inbox.accept(notification_for("a"), key="a")
    for name in ("inbox.db", "inbox.db-wal", "inbox.db-shm"):
        path.with_name(name).unlink()
    with pytest.raises(InboxUnavailable):
        await inbox.accept(notification_for("b"), key="b")
    await inbox.close()
    assert await waiting_in(path) == {"a"}
    assert os.stat(path).st_mode & 0o777 == 0o600


async def test_a_log_that_is_removed(inbox: SQLiteInbox, path: Path) -> None:
    assert await inbox.accept(notification_for("a"), key="a")
    path.with_name("inbox.db-wal").unlink()
    assert await inbox.accept(notification_for("b"), key="b")
    assert await waiting_in(path) == {"a", "b"}


async def test_a_file_that_becomes_something_else(inbox: SQLiteInbox, path: Path) -> None:
    assert await inbox.accept(notification_for("a"), key="a")
    path.rename(path.with_name("moved"))
    for name in ("inbox.db-wal", "inbox.db-shm"):
        path.with_name(name).unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.close()
    with pytest.raises(InboxUnavailable, match="something else"):
        await inbox.accept(notification_for("b"), key="b")
    path.with_name("moved").replace(path)
    assert await inbox.accept(notification_for("b"), key="b")
    assert await waiting_in(path) == {"a", "b"}


async def test_one_that_cannot_be_written_fails_alone(inbox: SQLiteInbox) -> None:
    outcomes: dict[str, object] = {}

    async def accept(key: str) -> None:
        try:
            outcomes[key] = await inbox.accept(notification_for("a"), key=key)
        except UnicodeEncodeError as error:
            outcomes[key] = type(error)

    async with anyio.create_task_group() as tasks:
        for key in ("a", "\ud800", "b"):
            tasks.start_soon(accept, key)
    assert outcomes == {"a": True, "\ud800": UnicodeEncodeError, "b": True}
