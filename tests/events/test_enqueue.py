"""Events that are sent in the background."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
import pytest

from starlette_intercom.errors import ConfigurationError, ContactNotFound, EventError, InvalidEvent, OutboxFull
from starlette_intercom.events import Event, EventsClient, MemoryOutbox, Money, Outcome, SQLiteOutbox
from starlette_intercom.testing import FakeIntercom

pytestmark = pytest.mark.anyio


def client_of(http_client: Any, **options: Any) -> EventsClient:
    return EventsClient(**{"access_token": "fake-token", "http_client": http_client, **options})


def event(number: int) -> Event:
    return Event("placed-order", user_id=f"u{number}")


class Unreachable:
    async def request(self, method: str, url: str, /, *, content: bytes | None, headers: object) -> httpx.Response:
        raise ConnectionRefusedError


async def test_the_end_of_the_context_sends_what_was_enqueued(
    fake: FakeIntercom, http_client: httpx.AsyncClient
) -> None:
    async with client_of(http_client) as events:
        for number in range(500):
            events.enqueue(event(number))
        assert events.statistics().enqueued == 500
        assert fake.events == []  # it did not wait
    assert len(fake.events) == 500


async def test_flush_tells_what_is_left(fake: FakeIntercom, http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client) as events:
        events.enqueue(event(1))
        assert await events.flush(10) == 0
        assert events.statistics().sent == 1
        assert await events.flush() == 0


async def test_an_invalid_event_is_refused_on_the_spot(http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client) as events:
        with pytest.raises(InvalidEvent):
            events.enqueue(Event("placed-order"))


async def test_what_intercom_refuses_is_reported_and_counted() -> None:
    fake = FakeIntercom(contacts={"u1"})
    failures: list[Outcome] = []
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(fake)) as http_client,
        client_of(http_client, on_failure=failures.append) as events,
    ):
        lost = Event("placed-order", user_id="nobody", created_at=5, metadata={"total": Money(5, "eur")})
        events.enqueue(lost)
        events.enqueue(event(1))
        assert await events.flush(10) == 0
        assert (events.statistics().sent, events.statistics().refused) == (1, 1)
    (failure,) = failures
    assert failure.event == lost
    assert isinstance(failure.error, ContactNotFound)


async def test_a_callback_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(outcome: Outcome) -> None:
        raise ZeroDivisionError

    fake = FakeIntercom(contacts={"u1"})
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(fake)) as http_client,
        client_of(http_client, on_failure=broken) as events,
    ):
        events.enqueue(event(0))
        events.enqueue(event(1))
    assert len(fake.events) == 1
    assert "on_failure failed" in caplog.text


async def test_the_buffer_is_bounded() -> None:
    async with client_of(Unreachable(), buffer=10, drain_timeout=0.01) as events:
        for number in range(10):
            events.enqueue(event(number))
        with pytest.raises(OutboxFull):
            events.enqueue(event(11))


async def test_a_full_outbox_takes_the_rest_as_soon_as_there_is_room(
    fake: FakeIntercom, http_client: httpx.AsyncClient
) -> None:
    async with client_of(http_client, outbox=MemoryOutbox(max_events=100)) as events:
        for number in range(350):
            events.enqueue(event(number))
        assert await events.flush(30) == 0
    assert len(fake.events) == 350


async def test_what_could_not_be_sent_is_kept_and_told(caplog: pytest.LogCaptureFixture, fake: FakeIntercom) -> None:
    outbox = MemoryOutbox()
    async with client_of(Unreachable(), outbox=outbox, drain_timeout=0.05) as events:
        for number in range(30):
            events.enqueue(event(number))
    assert "30 enqueued events have not been sent" in caplog.text
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(fake)) as http_client,
        client_of(http_client, outbox=outbox) as events,
    ):
        assert await events.flush(10) == 0
    assert len(fake.events) == 30


async def test_a_wrong_token_keeps_everything_and_flush_does_not_wait(
    caplog: pytest.LogCaptureFixture, fake: FakeIntercom, http_client: httpx.AsyncClient
) -> None:
    with caplog.at_level(logging.ERROR):
        async with client_of(http_client, access_token="wrong") as events:
            for number in range(300):
                events.enqueue(event(number))
            assert await events.flush() == 300
    assert len([record for record in caplog.records if "wait in the outbox" in record.message]) == 1
    assert len(fake.requests) <= 20


async def test_awaiting_the_handle_means_that_the_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    other = SQLiteOutbox(path)
    async with client_of(Unreachable(), outbox=SQLiteOutbox(path), drain_timeout=0.01) as events:
        await events.enqueue(event(1))
        assert events.statistics().unstored == 0
        await other.open()
        assert await other.count() == 1
        await other.aclose()


async def test_what_was_cut_off_goes_out_at_the_next_start_with_the_same_time(
    fake: FakeIntercom, tmp_path: Path
) -> None:
    path = tmp_path / "outbox.db"
    with anyio.CancelScope() as scope:
        async with client_of(Unreachable(), outbox=SQLiteOutbox(path)) as events:
            for number in range(250):
                events.enqueue(Event("placed-order", user_id=f"u{number}", created_at=1_700_000_000))
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            # Still there when we are cancelled, and not in the file yet.
            events.enqueue(Event("placed-order", user_id="last", created_at=1_700_000_000))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(fake)) as http_client,
        client_of(http_client, outbox=SQLiteOutbox(path)) as events,
    ):
        assert await events.flush(10) == 0
    assert len(fake.events) == 251
    assert {found["created_at"] for found in fake.events} == {1_700_000_000}


async def test_an_outbox_that_fails_for_a_while_loses_nothing(
    fake: FakeIntercom, http_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starlette_intercom.events.background._RETRY_STORING", 0.01)
    monkeypatch.setattr("starlette_intercom.events.background._POLL", 0.01)

    class Flaky(MemoryOutbox):
        calls = 0

        def fail(self) -> None:
            self.calls += 1
            if self.calls % 3:
                raise OSError("disk full")

        async def put(self, bodies: Sequence[bytes]) -> None:
            self.fail()
            await super().put(bodies)

        async def take(self, limit: int) -> Any:
            self.fail()
            return await super().take(limit)

        async def done(self, ids: Sequence[int]) -> None:
            self.fail()
            await super().done(ids)

    async with client_of(http_client, outbox=Flaky()) as events:
        for number in range(50):
            events.enqueue(event(number))
        with anyio.fail_after(10):
            while await events.flush(1):
                pass
    assert len(fake.events) == 50


async def test_an_outbox_that_never_works_tells_what_is_lost_and_leaves_nobody_waiting(
    http_client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryOutbox):
        async def put(self, bodies: Sequence[bytes]) -> None:
            raise OSError("disk full")

    async with client_of(http_client, outbox=Broken(), drain_timeout=0.05) as events:
        handle = events.enqueue(event(1))
    with pytest.raises(EventError, match="did not take"):
        await handle
    assert "1 enqueued events are lost" in caplog.text


async def test_nothing_is_taken_while_the_outbox_is_being_closed(http_client: httpx.AsyncClient) -> None:
    refused: list[EventError] = []

    class Closing(MemoryOutbox):
        async def release(self, ids: Sequence[int]) -> None:
            try:
                events.enqueue(event(2))
            except EventError as error:
                refused.append(error)

    events = client_of(http_client, outbox=Closing())
    async with events:
        pass
    assert len(refused) == 1


async def test_an_outbox_that_cannot_be_opened_fails_at_the_start(
    http_client: httpx.AsyncClient, tmp_path: Path
) -> None:
    events = client_of(http_client, outbox=SQLiteOutbox(tmp_path / "missing" / "outbox.db"))
    with pytest.raises(ConfigurationError, match="folder"):
        async with events:
            pass


async def test_a_thread_enqueues_through_the_event_loop(fake: FakeIntercom, http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client) as events:
        await anyio.to_thread.run_sync(lambda: anyio.from_thread.run_sync(events.enqueue, event(1)))
    assert len(fake.events) == 1


async def test_a_lifespan_runs_flushes_and_cancels(fake: FakeIntercom, http_client: httpx.AsyncClient) -> None:
    events = client_of(http_client)
    async with anyio.create_task_group() as tasks:
        await tasks.start(events.run)
        events.enqueue(event(1))
        assert await events.flush(10) == 0
        tasks.cancel_scope.cancel()
    assert len(fake.events) == 1
