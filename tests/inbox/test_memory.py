"""What is particular to the inbox in memory: its bounds, and when it wakes up who waits."""

from __future__ import annotations

import gc
import weakref

import anyio
import msgspec
import pytest

from starlette_intercom import ConfigurationError, InboxFull, MemoryInbox, StoredNotification, VerifiedNotification
from starlette_intercom.inbox import memory
from tests.handling.kit import Clock, notification

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def inbox(clock: Clock) -> MemoryInbox:
    inbox = MemoryInbox(clock=clock)
    await inbox.open()
    await inbox.claim(1, lease=1)  # takes the news that there may be something
    return inbox


async def waits(inbox: MemoryInbox) -> bool:
    """Tell whether somebody who waits now goes on waiting."""
    over: list[bool] = []

    async def wait() -> None:
        await inbox.wait(3600)
        over.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    return not over


@pytest.mark.parametrize("option", ["max_unfinished", "max_bytes", "retention"])
def test_bounds_are_positive(option: str) -> None:
    for value in (0, -1):
        with pytest.raises(ConfigurationError, match="must be positive"):
            MemoryInbox(**{option: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        MemoryInbox(retention=float("nan"))


async def test_it_is_full_at_so_many_deliveries_dead_letters_included() -> None:
    inbox = MemoryInbox(max_unfinished=2)
    assert await inbox.accept(notification(), key="a")
    assert await inbox.accept(notification(), key="b")
    with pytest.raises(InboxFull):
        await inbox.accept(notification(), key="c")
    assert not await inbox.accept(notification(), key="a")  # a duplicate takes no room
    first, second = await inbox.claim(2, lease=1)
    await inbox.bury(first, handlers=(), done=frozenset(), failures=())
    with pytest.raises(InboxFull):
        await inbox.accept(notification(), key="c")
    await inbox.complete(second)
    assert await inbox.accept(notification(), key="c")


async def test_it_is_full_at_so_many_bytes() -> None:
    size = len(notification().raw)
    inbox = MemoryInbox(max_bytes=2 * size + size // 2)
    for key in "ab":
        assert await inbox.accept(notification(), key=key)
    with pytest.raises(InboxFull):
        await inbox.accept(notification(), key="c")
    (claim,) = await inbox.claim(1, lease=1)
    await inbox.complete(claim)
    assert await inbox.accept(notification(), key="c")


async def test_the_keys_that_it_knows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MAX_KEYS", 3)
    inbox = MemoryInbox()
    for key in "abcde":
        await inbox.accept(notification(), key=key)
        (claim,) = await inbox.claim(1, lease=1)
        await inbox.complete(claim)
    assert (await inbox.stats()).done == 3
    assert await inbox.accept(notification(), key="a")
    assert not await inbox.accept(notification(), key="e")


async def test_a_completed_payload_is_gone_at_once(inbox: MemoryInbox, monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(StoredNotification[object]):
        __slots__ = ("__weakref__",)

    def of(verified: VerifiedNotification) -> Seen:
        return Seen(verified.raw, verified._envelope)

    monkeypatch.setattr(StoredNotification, "of", of)
    for group in (None, "group"):
        await inbox.accept(notification(), key=f"a{group}", group=group)
        (claim,) = await inbox.claim(1, lease=30)
        await inbox.renew([claim], lease=30)
        payload = weakref.ref(claim.notification)
        await inbox.complete(claim)
        del claim
        gc.collect()
        assert payload() is None


async def test_a_lease_that_ends_after_completion_changes_nothing(inbox: MemoryInbox, clock: Clock) -> None:
    for group in (None, "group"):
        await inbox.accept(notification(), key=f"a{group}", group=group)
        (claim,) = await inbox.claim(1, lease=30)
        await inbox.complete(claim)
        clock.now += 30
        assert await inbox.claim(1, lease=30) == []


async def test_claims_by_id_leave_nothing_behind(inbox: MemoryInbox) -> None:
    for number in range(100):
        await inbox.accept(notification(), key=str(number))
        (claim,) = await inbox.claim(1, lease=30, ids=[str(number)])
        await inbox.complete(claim)
    assert len(inbox._ready) == 0


async def test_who_waits_is_woken_by_what_comes(inbox: MemoryInbox) -> None:
    woken: list[int] = []

    async def wait(number: int) -> None:
        await inbox.wait(3600)
        woken.append(number)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(wait, number)
            await anyio.wait_all_tasks_blocked()
            assert woken == []
            await inbox.accept(notification(), key="a")
    assert sorted(woken) == [0, 1, 2]


async def test_news_that_came_before_the_wait_is_not_missed(inbox: MemoryInbox) -> None:
    await inbox.accept(notification(), key="a")
    assert not await waits(inbox)
    assert len(await inbox.claim(1, lease=1)) == 1
    assert await waits(inbox)


async def test_what_a_claim_left_is_news(inbox: MemoryInbox) -> None:
    for key in "ab":
        await inbox.accept(notification(), key=key)
    await inbox.claim(1, lease=1)
    assert not await waits(inbox)


@pytest.mark.parametrize("way", ["release", "replay", "next of its group"])
async def test_what_becomes_ready_again_is_news(inbox: MemoryInbox, way: str) -> None:
    for key in "ab":
        await inbox.accept(notification(), key=key, group="group")
    (claim,) = await inbox.claim(10, lease=30)
    assert await waits(inbox)
    if way == "release":
        await inbox.release(claim, done=frozenset(), failures=())
    elif way == "replay":
        await inbox.bury(claim, handlers=(), done=frozenset(), failures=())
        (other,) = await inbox.claim(10, lease=30)
        await inbox.complete(other)
        assert await waits(inbox)
        assert await inbox.replay() == 1
    else:
        await inbox.complete(claim)
    assert not await waits(inbox)
    assert len(await inbox.claim(10, lease=30)) == 1


async def test_a_wait_ends_when_something_is_due(inbox: MemoryInbox, clock: Clock) -> None:
    await inbox.accept(notification(), key="a")
    (claim,) = await inbox.claim(1, lease=30)
    await inbox.retry(claim, after=0.02, done=frozenset(), failures=())
    with anyio.fail_after(5):
        await inbox.wait(3600)
    clock.now += 0.02
    assert len(await inbox.claim(1, lease=30)) == 1


async def test_a_wait_ends_after_its_time(inbox: MemoryInbox) -> None:
    with anyio.fail_after(5):
        await inbox.wait(0.01)


async def test_it_keeps_what_it_has_over_a_restart(inbox: MemoryInbox) -> None:
    await inbox.accept(notification(), key="a")
    await inbox.close()
    await inbox.open()
    assert not await waits(inbox)
    assert [claim.delivery.id for claim in await inbox.claim(10, lease=1)] == ["a"]


async def test_what_is_read_from_dead_letters_is_a_copy(inbox: MemoryInbox) -> None:
    await inbox.accept(notification(), key="a")
    (claim,) = await inbox.claim(1, lease=1)
    claim.notification.item["state"] = "spoilt"
    await inbox.bury(claim, handlers=(), done=frozenset(), failures=())
    letter = await inbox.get_dead("a")
    assert letter is not None
    assert letter.notification.item == msgspec.json.decode(letter.notification.raw)["data"]["item"]


@pytest.mark.parametrize("way", ["retry", "complete"])
async def test_a_late_run_of_a_group_gives_way_to_who_runs_now(inbox: MemoryInbox, clock: Clock, way: str) -> None:
    await inbox.accept(notification(created_at=int(clock.now)), key="late", group="group")
    (late,) = await inbox.claim(10, lease=30)
    await inbox.accept(notification(created_at=int(clock.now) - 60), key="now", group="group")
    clock.now += 30
    (now,) = await inbox.claim(10, lease=30)
    assert now.delivery.id == "now"
    assert await inbox.renew([now, late], lease=30) == [late]
    if way == "retry":
        await inbox.retry(late, after=0, done=frozenset(), failures=())
    else:
        await inbox.complete(late)
    assert await inbox.claim(10, lease=30) == []
    await inbox.complete(now)
    left = [claim.delivery.id for claim in await inbox.claim(10, lease=30)]
    assert left == (["late"] if way == "retry" else [])
