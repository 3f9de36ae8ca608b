"""The inbox in memory does what every inbox does."""

from __future__ import annotations

from starlette_intercom.inbox.contract import Inbox
from starlette_intercom.inbox.memory import MemoryInbox
from starlette_intercom.testing import Clock
from starlette_intercom.testing.conformance import InboxConformance


class TestMemoryInbox(InboxConformance):
    def make_inbox(self, clock: Clock, *, max_unfinished: int = 1000) -> Inbox:
        return MemoryInbox(clock=clock, max_unfinished=max_unfinished)
