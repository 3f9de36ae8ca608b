"""Dead letters, as people meet them."""

from __future__ import annotations

import pytest

from starlette_intercom import DeadLetters, Reject
from tests.handling.kit import Group, Stage

pytestmark = pytest.mark.anyio


async def test_they_are_listed_replayed_and_purged() -> None:
    stage = Stage()
    letters = DeadLetters(stage.inbox)
    Group(stage).add("bad", *[Reject(str(number)) for number in range(10)])
    names = []
    for _ in range(4):
        names.append(await stage.deliver())
        await stage.work()
        stage.clock.now += 1
    assert [letter.id for letter in await letters.list()] == names[::-1]
    assert [letter.id for letter in await letters.list(limit=2)] == names[:1:-1]
    assert len(await letters.list(handler="bad")) == 4
    assert await letters.list(handler="good") == []
    assert await letters.list("contact.created") == []

    found = await letters.get(names[0])
    assert found is not None
    assert found.error is not None
    assert (found.id, found.error.message) == (names[0], "0")
    assert await letters.get("nothing") is None

    assert await letters.replay(names[0])
    assert not await letters.replay(names[0])
    assert not await letters.replay("nothing")
    assert (await stage.inbox.stats()).waiting == 1
    assert await letters.replay_all(topic="contact.created") == 0
    assert await letters.replay_all(handler="bad") == 3

    await stage.work()
    assert await letters.purge(names[0]) == 1
    assert await letters.purge(older_than=60) == 0
    stage.clock.now += 60
    assert await letters.purge(topic="contact.created") == 0
    assert await letters.purge(older_than=60) == 3
    assert await letters.list() == []
    assert not (await stage.inbox.stats()).dead


async def test_one_without_a_failure_has_no_error() -> None:
    stage = Stage()
    await stage.deliver()
    (run,) = await stage.processor.claim(1)
    await stage.inbox.bury(run.claim, handlers=(), done=frozenset(), failures=())
    assert (await stage.dead()).error is None
