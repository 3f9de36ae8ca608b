"""A fake Intercom in process, and one behind a real uvicorn on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from starlette_intercom.testing import FakeIntercom

TOKEN = "fake-token"

Serve = Callable[[FakeIntercom], str]


@contextmanager
def serving(fake: FakeIntercom) -> Iterator[str]:
    """Serve a fake from a thread; yields its address."""
    config = uvicorn.Config(fake, log_level="critical", access_log=False, date_header=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        # Connections are accepted by the listener's queue from here on, so there is no start to wait for.
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a fake behind uvicorn until the test ends."""
    open_servers = []

    def start(fake: FakeIntercom) -> str:
        server = serving(fake)
        address = server.__enter__()
        open_servers.append(server)
        return address

    yield start
    for server in open_servers:
        server.__exit__(None, None, None)


@pytest.fixture
def fake() -> FakeIntercom:
    """A fake where every contact exists and the limit is out of reach."""
    return FakeIntercom(access_token=TOKEN, limit=1_000_000)


@pytest.fixture
async def http_client(fake: FakeIntercom) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client that reaches the fake in process."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(fake)) as client:
        yield client
