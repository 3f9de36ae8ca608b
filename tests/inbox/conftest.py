"""Redis servers for the tests of the inbox in Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_process import RedisProcess, require_redis


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """One server for all tests that leave it running, and so need no disk; each takes a prefix of its own."""
    require_redis()
    with RedisProcess(tmp_path_factory.mktemp("redis"), "--appendfsync", "no") as server:
        yield server


@pytest.fixture
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A server for one test, which may do to it what it likes."""
    require_redis()
    with RedisProcess(tmp_path_factory.mktemp("redis")) as server:
        yield server
