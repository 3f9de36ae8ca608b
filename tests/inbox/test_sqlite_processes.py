"""Several processes on one file, and processes that die."""

# ruff: noqa: ASYNC240 - looking at a small local directory holds nobody up here

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from starlette_intercom.inbox.sqlite import SQLiteInbox
from starlette_intercom.testing.conformance_model import notification_for

from .sqlite_support import ACCEPT_AND_COMPLETE, ACCEPT_UNTIL_KILLED, HOLD_CLAIMS, end, read_line, read_rest, start

pytestmark = pytest.mark.anyio


async def test_what_a_killed_process_held_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    inbox = SQLiteInbox(path)
    await inbox.open()
    for number in range(5):
        await inbox.accept(notification_for("a"), key=str(number))
    process = start(HOLD_CLAIMS, path)
    try:
        assert await anyio.to_thread.run_sync(read_line, process) == "5"
        assert not await inbox.claim(9, lease=60)
        await inbox.tidy()
        assert not await inbox.claim(9, lease=60), "its owner is alive"
        await inbox.close()
        os.kill(process.pid, signal.SIGKILL)
        await anyio.to_thread.run_sync(process.wait)
        await inbox.open()
        claims = await inbox.claim(9, lease=60)
        assert [(claim.recovered, claim.delivery.attempt) for claim in claims] == [(True, 2)] * 5
        await inbox.close()
    finally:
        end(process)
    assert [file.name for file in tmp_path.iterdir()] == ["inbox.db"]


async def test_one_that_goes_on_finds_what_a_killed_one_held_when_it_tidies(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    inbox = SQLiteInbox(path)
    await inbox.open()
    await inbox.accept(notification_for("a"), key="a")
    process = start(HOLD_CLAIMS, path)
    try:
        assert await anyio.to_thread.run_sync(read_line, process) == "1"
        assert not await inbox.claim(9, lease=60)
    finally:
        end(process)
    await inbox.tidy()
    with anyio.fail_after(10):
        await inbox.wait(60)
    (claim,) = await inbox.claim(9, lease=60)
    assert claim.recovered
    await inbox.close()


async def test_an_inbox_that_is_closed_gives_up_what_it_held(tmp_path: Path) -> None:
    first, second = SQLiteInbox(tmp_path / "inbox.db"), SQLiteInbox(tmp_path / "inbox.db")
    await first.open()
    await second.open()
    for key in "ab":
        await first.accept(notification_for(key), key=key)
    (kept,) = await second.claim(1, lease=60)
    assert len(await first.claim(1, lease=60)) == 1
    await first.close()
    await second.tidy()
    (claim,) = await second.claim(9, lease=60)
    assert claim.recovered
    assert claim.delivery.id != kept.delivery.id
    await second.close()


async def test_what_another_process_accepts_is_found_without_a_wake_up(tmp_path: Path) -> None:
    here, there = SQLiteInbox(tmp_path / "inbox.db"), SQLiteInbox(tmp_path / "inbox.db")
    await here.open()
    await there.open()
    assert not await here.claim(1, lease=60)
    await there.accept(notification_for("a"), key="a")
    with anyio.fail_after(10):
        while not await here.claim(1, lease=60):
            await here.wait(60)
    await here.close()
    await there.close()


async def test_copies_over_several_processes_are_accepted_and_completed_once(tmp_path: Path) -> None:
    path, count = tmp_path / "inbox.db", 300
    processes = [start(ACCEPT_AND_COMPLETE, path, count) for _ in range(3)]
    try:
        lines = [(await anyio.to_thread.run_sync(read_line, process)).split() for process in processes]
    finally:
        for process in processes:
            end(process)
    assert sum(int(line[0]) for line in lines) == count
    completed = [key for line in lines for key in line[1:]]
    assert sorted(completed, key=int) == [str(number) for number in range(count)]


async def test_what_was_accepted_outlives_a_process_that_is_killed_while_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    accepted = set()
    for turn in range(4):
        process = start(ACCEPT_UNTIL_KILLED, path, turn)
        for _ in range(40 + turn * 17):
            accepted.add(await anyio.to_thread.run_sync(read_line, process))
        accepted.update(await anyio.to_thread.run_sync(read_rest, process))
    inbox = SQLiteInbox(path)
    await inbox.open()
    recorded = {claim.delivery.id for claim in await inbox.claim(1_000_000, lease=60)}
    assert accepted <= recorded
    assert len(accepted) >= 40 * 4
    await inbox.close()
