"""An inbox with faults is an inbox, and has exactly the faults that it was given."""

from __future__ import annotations

import anyio
import pytest

from starlette_intercom import InboxUnavailable
from starlette_intercom.inbox.contract import Inbox
from starlette_intercom.inbox.memory import MemoryInbox
from starlette_intercom.testing import Clock, FaultyInbox
from starlette_intercom.testing.conformance import InboxConformance
from tests.factories import envelope, notification


class TestFaultyInbox(InboxConformance):
    examples = 20

    def make_inbox(self, clock: Clock, *, max_unfinished: int = 1000) -> Inbox:
        return FaultyInbox(MemoryInbox(clock=clock, max_unfinished=max_unfinished))


@pytest.mark.anyio
async def test_each_fault_is_for_one_call_of_its_operation() -> None:
    inbox = FaultyInbox(MemoryInbox())
    await inbox.open()
    inbox.inject("stats", "down", "lost", "hang")
    await inbox.tidy()
    with pytest.raises(InboxUnavailable):
        await inbox.stats()
    with pytest.raises(InboxUnavailable):
        await inbox.stats()
    with anyio.move_on_after(0.01) as patience:
        await inbox.stats()
    assert patience.cancelled_caught
    assert (await inbox.stats()).waiting == 0


@pytest.mark.anyio
async def test_down_changes_nothing_and_lost_has_changed_it() -> None:
    inbox = FaultyInbox(MemoryInbox())
    await inbox.open()
    inbox.inject("accept", "down", "lost")
    for waiting in (0, 1):
        with pytest.raises(InboxUnavailable):
            await inbox.accept(notification(envelope()), key="a")
        assert (await inbox.stats()).waiting == waiting


def test_it_is_as_durable_as_what_is_behind_it() -> None:
    assert FaultyInbox(MemoryInbox()).durable is False
