"""The SQLite inbox does what every inbox does."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from starlette_intercom.inbox.contract import Inbox
from starlette_intercom.inbox.sqlite import SQLiteInbox, keys
from starlette_intercom.testing import Clock
from starlette_intercom.testing.conformance import InboxConformance


class TestSQLiteInbox(InboxConformance):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.paths = (tmp_path / f"inbox-{number}.db" for number in count())

    def make_inbox(self, clock: Clock, *, max_unfinished: int = 1000) -> Inbox:
        self.path = next(self.paths)
        return SQLiteInbox(self.path, clock=clock, max_unfinished=max_unfinished)

    async def restart(self, inbox: Inbox, clock: Clock) -> Inbox:
        await inbox.close()
        again = SQLiteInbox(self.path, clock=clock)
        await again.open()
        return again


class TestSQLiteInboxWithMostKeysInTheIndex(TestSQLiteInbox):
    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keys, "STEP", 1)
        monkeypatch.setattr(keys, "SLICES", 2)
