"""Against a real uvicorn on loopback: both HTTP libraries, faults, the rate window, killed processes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import httpx2
import pytest

from starlette_intercom.errors import IntercomUnavailable
from starlette_intercom.events import Event, EventsClient, SQLiteOutbox
from starlette_intercom.testing import FakeIntercom, Fault

pytestmark = pytest.mark.anyio

Serve = Callable[[FakeIntercom], str]
EVENTS = 300


def events_of(count: int) -> Iterator[Event]:
    return (Event("placed-order", user_id=f"u{number}") for number in range(count))


async def test_our_own_client(fake: FakeIntercom, serve: Serve) -> None:
    async with EventsClient(access_token="fake-token", base_url=serve(fake)) as client:
        await client.track("placed-order", user_id="single")
        assert (await client.track_many(events_of(EVENTS))).succeeded == EVENTS
        assert len(await client.list(user_id="single")) == 1
    assert len(fake.events) == EVENTS + 1


async def test_the_users_httpx_client(fake: FakeIntercom, serve: Serve) -> None:
    async with httpx.AsyncClient() as http_client:
        async with EventsClient(access_token="fake-token", base_url=serve(fake), http_client=http_client) as client:
            assert (await client.track_many(events_of(EVENTS))).succeeded == EVENTS
        assert not http_client.is_closed


async def test_the_users_httpx2_client(fake: FakeIntercom, serve: Serve) -> None:
    fake.inject("lost", "reset", "server_error")
    async with httpx2.AsyncClient() as http_client:
        async with EventsClient(access_token="fake-token", base_url=serve(fake), http_client=http_client) as client:
            assert (await client.track_many(events_of(EVENTS))).succeeded == EVENTS
            assert len(await client.list(user_id="u1")) == 1
        assert not http_client.is_closed
    assert len(fake.events) == EVENTS


async def test_nobody_listening_is_unavailable() -> None:
    async with EventsClient(access_token="t", base_url="http://127.0.0.1:9", deadline=0.3) as client:
        with pytest.raises(IntercomUnavailable):
            await client.track("placed-order", user_id="u")


async def test_with_faults_in_a_tenth_of_the_requests_each_event_arrives_once(serve: Serve) -> None:
    chance = random.Random(7)
    kinds: list[Fault] = ["server_error", "reset", "lost", "slow"]

    def faults() -> Iterator[Fault | None]:
        while True:
            yield chance.choice(kinds) if chance.random() < 0.1 else None

    fake = FakeIntercom(limit=1_000_000, faults=faults(), slow_for=0.6)
    async with EventsClient(access_token="fake-token", base_url=serve(fake), timeout=0.3) as client:
        result = await client.track_many(events_of(EVENTS))
    assert (result.succeeded, result.failed) == (EVENTS, ())
    assert sorted(event["user_id"] for event in fake.events) == sorted(f"u{number}" for number in range(EVENTS))
    assert len(fake.requests) > EVENTS


async def test_a_small_window_is_used_up_and_not_exceeded(serve: Serve) -> None:
    fake = FakeIntercom(limit=50, window=1.0)
    async with EventsClient(access_token="fake-token", base_url=serve(fake)) as client:
        assert (await client.track_many(events_of(120))).succeeded == 120
    assert max(fake.windows.values()) <= 50


async def test_a_429_is_waited_out_until_the_window_ends(serve: Serve) -> None:
    fake = FakeIntercom(limit=15, window=1.0)
    async with EventsClient(access_token="fake-token", base_url=serve(fake)) as client:
        # Nothing is known of the window yet, so these go out together.
        assert (await client.track_many(events_of(20))).succeeded == 20
    assert len(fake.events) == 20
    assert fake.rate_limited <= 20


PROGRAM = """
import signal
import sys
import anyio
from starlette_intercom.events import Event, EventsClient, SQLiteOutbox

async def main(address, path):
    # One request at a time, so that most are still waiting when we are killed.
    client = EventsClient(access_token="fake-token", base_url=address, concurrency=1, outbox=SQLiteOutbox(path))
    async with client as events:
        for number in range(1000):
            last = events.enqueue(Event("placed-order", user_id=f"u{number}"))
        await last
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            print("stored", flush=True)
            async for _ in signals:
                break

anyio.run(main, *sys.argv[1:])
"""


def enqueue_and_die(end: signal.Signals, address: str, path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, address, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"stored\n"
        process.send_signal(end)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_a_process_that_ends_loses_nothing_that_was_stored(
    end: signal.Signals, fake: FakeIntercom, serve: Serve, tmp_path: Path
) -> None:
    address, path = serve(fake), tmp_path / "outbox.db"
    enqueue_and_die(end, address, path)
    # SIGTERM leaves time to send what waits; SIGKILL none.
    assert (len(fake.events) == 1000) is (end == signal.SIGTERM)
    # What was under way is leased to the process that died; that time passes for us at once.
    later = SQLiteOutbox(path, clock=lambda: time.time() + 1000)
    async with EventsClient(access_token="fake-token", base_url=address, outbox=later) as client:
        assert await client.flush(30) == 0
    assert sorted(event["user_id"] for event in fake.events) == sorted(f"u{number}" for number in range(1000))
