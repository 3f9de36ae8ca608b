"""Claims of a SQLite inbox that stand by: what comes is claimed in the transaction that accepts it, or not at all."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from starlette_intercom import Notification, TaskGroupRunner, VerifiedNotification
from starlette_intercom.errors import InboxUnavailable
from starlette_intercom.inbox.contract import Claim
from starlette_intercom.inbox.sqlite import SQLiteInbox
from starlette_intercom.testing import Clock
from starlette_intercom.testing.conformance_model import notification_for
from tests.handling.kit import TOPIC, Stage, running

from .sqlite_support import HOLD_WRITE_LOCK, end, read_line, start

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _they_stand_by_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starlette_intercom.inbox.sqlite.inbox._LOOK_AGAIN", 60)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def inbox(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteInbox]:
    inbox = SQLiteInbox(tmp_path / "inbox.db", clock=clock, busy_timeout=30)
    await inbox.open()
    assert not await inbox.claim(1, lease=30)
    yield inbox
    await inbox.close()


class Standing:
    """A claim that stands by."""

    def __init__(self, inbox: SQLiteInbox, limit: int, lease: float) -> None:
        self.claims: Sequence[Claim] | None = None
        self.scope = anyio.CancelScope()
        self._inbox, self._limit, self._lease = inbox, limit, lease

    async def stand(self, timeout: float) -> None:
        with self.scope:
            self.claims = await self._inbox.claim_next(self._limit, lease=self._lease, timeout=timeout)

    @property
    def ids(self) -> list[str]:
        assert self.claims is not None, "it has not come back"
        return [claim.delivery.id for claim in self.claims]


@asynccontextmanager
async def standing(inbox: SQLiteInbox, *limits: int, lease: float = 30.0) -> AsyncIterator[list[Standing]]:
    """Have claims stand by, in this order, and wait for them afterwards."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            claims = [Standing(inbox, limit, lease) for limit in limits]
            for claim in claims:
                tasks.start_soon(claim.stand, 60.0)
                await anyio.wait_all_tasks_blocked()
            yield claims


def came(key: str) -> VerifiedNotification:
    """Return a notification; keys further down the alphabet are younger."""
    return notification_for(key, created_at=ord(key[0]))


async def deliver(inbox: SQLiteInbox, *keys: str, group: str | None = None) -> list[bool]:
    """Accept notifications in one transaction."""
    new: dict[str, bool] = {}

    async def accept(key: str) -> None:
        new[key] = await inbox.accept(came(key), key=key, group=group)

    async with anyio.create_task_group() as tasks:
        for key in keys:
            tasks.start_soon(accept, key)
    return [new[key] for key in keys]


async def test_what_comes_is_claimed_as_if_by_a_claim_of_its_own(inbox: SQLiteInbox, clock: Clock) -> None:
    async with standing(inbox, 5, lease=20) as (one,):
        assert await deliver(inbox, "a") == [True]
    assert one.claims is not None
    (claim,) = one.claims
    assert (claim.delivery.id, claim.delivery.attempt, claim.delivery.first_seen) == ("a", 1, clock())
    assert (claim.notification.raw, claim.notification.item) == (came("a").raw, came("a").item)
    assert (claim.done, claim.failures, claim.recovered) == (frozenset(), (), False)
    assert (await inbox.stats()).running == 1
    clock.advance(21)
    (again,) = await inbox.claim(5, lease=30)
    assert (again.delivery.attempt, again.recovered) == (2, True)
    assert again.delivery.fencing > claim.delivery.fencing


async def test_a_second_process_finds_it_claimed(inbox: SQLiteInbox, clock: Clock) -> None:
    other = SQLiteInbox(inbox.path, clock=clock)
    await other.open()
    async with standing(inbox, 5) as (one,):
        await deliver(inbox, "a")
    assert not await other.claim(5, lease=30)
    assert one.claims is not None
    await inbox.complete(one.claims[0])
    assert (await other.stats()).done == 1
    await other.close()


async def test_no_more_is_claimed_than_was_asked_for_and_the_rest_can_be_claimed(inbox: SQLiteInbox) -> None:
    async with standing(inbox, 2) as (one,):
        await deliver(inbox, *"abcde")
    rest = await inbox.claim(9, lease=30)
    assert len(one.ids) == 2
    assert sorted(one.ids + [claim.delivery.id for claim in rest]) == list("abcde")
    fencing = [claim.delivery.fencing for claim in (*(one.claims or ()), *rest)]
    assert len(set(fencing)) == 5


async def test_several_share_what_comes(inbox: SQLiteInbox) -> None:
    async with standing(inbox, 1, 3, 9) as all_of_them:
        await deliver(inbox, *"abcde")
    assert [len(one.ids) for one in all_of_them] == [1, 3, 1]
    assert sorted(each for one in all_of_them for each in one.ids) == list("abcde")


async def test_what_was_there_before_goes_first(inbox: SQLiteInbox, clock: Clock) -> None:
    """Another process has accepted it, of which this one does not know."""
    other = SQLiteInbox(inbox.path, clock=clock)
    await other.open()
    async with standing(inbox, 2) as (one,):
        await deliver(other, "old")
        await deliver(inbox, "new", "newest")
    await other.close()
    assert "old" in one.ids
    assert len(one.ids) == 2
    assert len(await inbox.claim(9, lease=30)) == 1


async def test_a_duplicate_brings_nothing(inbox: SQLiteInbox) -> None:
    await deliver(inbox, "a")
    assert len(await inbox.claim(9, lease=30)) == 1
    assert not await inbox.claim(9, lease=30)
    async with standing(inbox, 5) as (one,):
        assert await deliver(inbox, "a") == [False]
    assert one.ids == []


async def test_of_a_group_only_the_first_is_claimed(inbox: SQLiteInbox) -> None:
    async with standing(inbox, 5) as (one,):
        await deliver(inbox, *"abc", group="g")
    assert one.ids == ["a"]
    assert not await inbox.claim(9, lease=30)
    async with standing(inbox, 5) as (another,):
        await deliver(inbox, "d", group="g")
    assert another.ids == []
    assert one.claims is not None
    await inbox.complete(one.claims[0])
    assert [claim.delivery.id for claim in await inbox.claim(9, lease=30)] == ["b"]


async def test_of_each_group_the_first_is_claimed_as_far_as_it_was_asked_for(inbox: SQLiteInbox) -> None:
    async with standing(inbox, 2, 1) as (one, another), anyio.create_task_group() as tasks:
        for group in "ghijk":
            tasks.start_soon(lambda key: inbox.accept(notification_for(key), key=key, group=key), group)
    assert (len(one.ids), len(another.ids)) == (2, 1)
    rest = await inbox.claim(9, lease=30)
    assert sorted([*one.ids, *another.ids, *(claim.delivery.id for claim in rest)]) == list("ghijk")


async def test_nothing_is_claimed_for_one_that_was_cancelled(inbox: SQLiteInbox) -> None:
    async with standing(inbox, 5) as (one,):
        one.scope.cancel()
        await anyio.wait_all_tasks_blocked()
        await deliver(inbox, "a")
    assert one.claims is None
    (claim,) = await inbox.claim(5, lease=30)
    assert claim.delivery.attempt == 1


async def test_nothing_is_claimed_for_one_whose_time_is_up(inbox: SQLiteInbox) -> None:
    assert not await inbox.claim_next(5, lease=30, timeout=0.01)
    await deliver(inbox, "a")
    (claim,) = await inbox.claim(5, lease=30)
    assert claim.delivery.attempt == 1


async def test_what_is_ready_already_is_left_for_a_claim(inbox: SQLiteInbox) -> None:
    await deliver(inbox, "a")
    with anyio.fail_after(20):
        assert not await inbox.claim_next(5, lease=30, timeout=60)
    assert len(await inbox.claim(5, lease=30)) == 1


@pytest.mark.parametrize("how", ["cancelled", "time is up"])
async def test_what_is_being_written_when_it_ends_is_not_lost(
    inbox: SQLiteInbox, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    begun, may_commit = threading.Event(), threading.Event()
    commit = inbox._file.commit

    def slow_commit(connection: sqlite3.Connection) -> None:
        begun.set()
        assert may_commit.wait(20)
        commit(connection)

    monkeypatch.setattr(inbox._file, "commit", slow_commit)
    if how == "time is up":
        monkeypatch.setattr("starlette_intercom.inbox.sqlite.inbox._LOOK_AGAIN", 0.05)
    async with standing(inbox, 5) as (one,), anyio.create_task_group() as tasks:
        tasks.start_soon(deliver, inbox, "a")
        await anyio.to_thread.run_sync(begun.wait, 20)
        if how == "cancelled":
            one.scope.cancel()
        await anyio.sleep(0.1)
        may_commit.set()
    assert one.ids == ["a"]
    assert not await inbox.claim(5, lease=30)


async def test_where_nothing_can_be_written_nothing_is_accepted_or_claimed(tmp_path: Path) -> None:
    inbox = SQLiteInbox(tmp_path / "inbox.db", busy_timeout=0.1)
    await inbox.open()
    assert not await inbox.claim(1, lease=30)
    process = start(HOLD_WRITE_LOCK, inbox.path)
    try:
        assert await anyio.to_thread.run_sync(read_line, process) == "locked"
        async with anyio.create_task_group() as tasks:

            async def stand() -> None:
                with pytest.raises(InboxUnavailable):
                    await inbox.claim_next(5, lease=30, timeout=60)

            tasks.start_soon(stand)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(InboxUnavailable):
                await inbox.accept(notification_for("a"), key="a")
    finally:
        end(process)
    assert await inbox.accept(notification_for("a"), key="a")
    assert len(await inbox.claim(5, lease=30)) == 1
    await inbox.close()


async def test_one_that_stands_by_when_the_inbox_is_closed_claims_nothing(inbox: SQLiteInbox) -> None:
    async with standing(inbox, 5) as (one,):
        await inbox.close()
        with pytest.raises(InboxUnavailable, match="not open"):
            await inbox.claim_next(5, lease=30, timeout=60)
        one.scope.cancel()
    assert one.claims is None


async def test_a_drained_runner_holds_nothing(inbox: SQLiteInbox) -> None:
    """It stood by until then."""
    stage = Stage(inbox=inbox)
    ran = []

    @stage.handlers.on(TOPIC)
    async def handler(notification: Notification) -> None:
        ran.append(notification.id)

    async with running(stage, TaskGroupRunner(5)):
        await stage.deliver()
        await stage.finished(1)
    assert len(ran) == 1
    await stage.deliver()
    (claim,) = await inbox.claim(5, lease=30)
    assert claim.delivery.attempt == 1
