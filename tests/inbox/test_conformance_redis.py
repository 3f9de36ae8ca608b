"""The Redis inbox does what every inbox does, on a real server."""

from __future__ import annotations

from itertools import count

import pytest

from starlette_intercom.inbox.contract import Inbox
from starlette_intercom.inbox.redis import RedisInbox
from starlette_intercom.testing import Clock
from starlette_intercom.testing.conformance import InboxConformance
from tests.redis_process import RedisProcess

_numbers = count()


class TestRedisInbox(InboxConformance):
    examples = 100

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"  # redis-py knows no other

    @pytest.fixture(autouse=True)
    def _server(self, shared_redis: RedisProcess) -> None:
        self.server = shared_redis

    def make_inbox(self, clock: Clock, *, max_unfinished: int = 1000) -> Inbox:
        self.prefix = f"conformance-{next(_numbers)}"
        return RedisInbox(self.server.url, prefix=self.prefix, clock=clock, max_unfinished=max_unfinished, timeout=30)

    async def restart(self, inbox: Inbox, clock: Clock) -> Inbox:
        await inbox.close()
        again = RedisInbox(self.server.url, prefix=self.prefix, clock=clock, timeout=30)
        await again.open()
        return again
