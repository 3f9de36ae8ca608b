"""Many events at once."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import pytest

from starlette_intercom.errors import ContactNotFound, EventError, InvalidEvent, Unauthorized
from starlette_intercom.events import Event, EventsClient, Outcome, Progress
from starlette_intercom.events.collisions import Collisions
from starlette_intercom.testing import FakeIntercom

pytestmark = pytest.mark.anyio


def client_of(http_client: httpx.AsyncClient, **options: Any) -> EventsClient:
    return EventsClient(**{"access_token": "fake-token", "http_client": http_client, **options})


def events_of(count: int) -> Iterator[Event]:
    return (Event("placed-order", user_id=f"u{number}") for number in range(count))


async def as_async(events: Iterator[Event]) -> AsyncIterator[Event]:
    for event in events:
        await anyio.lowlevel.checkpoint()
        yield event


@pytest.fixture(params=["iterable", "async iterable"])
def source(request: pytest.FixtureRequest) -> Any:
    return (lambda events: events) if request.param == "iterable" else as_async


async def test_all_arrive_whatever_gives_them(fake: FakeIntercom, http_client: httpx.AsyncClient, source: Any) -> None:
    seen: list[Progress] = []
    async with client_of(http_client) as client:
        result = await client.track_many(source(events_of(200)), on_progress=seen.append)
    assert (result.succeeded, result.failed, result.failed_count) == (200, (), 0)
    assert len(fake.events) == 200
    assert [progress.done for progress in seen] == list(range(1, 201))


async def test_one_bad_event_does_not_stop_the_rest(source: Any) -> None:
    fake = FakeIntercom(contacts={f"u{number}" for number in range(50)})
    bad = Event("placed-order", user_id="")
    unknown = Event("placed-order", user_id="nobody")

    def mixed() -> Iterator[Any]:
        yield from events_of(25)
        yield bad
        yield unknown
        yield "no event at all"
        yield from (Event("sent-invoice", user_id=f"u{number}") for number in range(25))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(fake)) as http_client, client_of(http_client) as client:
        result = await client.track_many(source(mixed()))
    assert result.succeeded == 50
    errors = {id(outcome.event): outcome.error for outcome in result.failed}
    assert isinstance(errors[id(bad)], InvalidEvent)
    assert isinstance(errors[id(unknown)], ContactNotFound)
    assert result.failed_count == 3


async def test_a_wrong_token_stops_at_once(fake: FakeIntercom, http_client: httpx.AsyncClient, source: Any) -> None:
    made = 0

    def endless() -> Iterator[Event]:
        nonlocal made
        while made < 100_000:
            made += 1
            yield Event("placed-order", user_id=f"u{made}")

    async with client_of(http_client, access_token="wrong") as client:
        with pytest.raises(Unauthorized):
            await client.track_many(source(endless()))
        with pytest.raises(Unauthorized):
            async for _ in client.stream(source(endless())):
                pass
    assert made <= 200
    assert len(fake.requests) <= 80


async def test_what_the_source_or_the_callback_raises_leaves_as_it_is(
    fake: FakeIntercom, http_client: httpx.AsyncClient, source: Any
) -> None:
    def broken() -> Iterator[Event]:
        yield from events_of(10)
        raise ZeroDivisionError

    def complain(progress: Progress) -> None:
        raise LookupError

    async with client_of(http_client) as client:
        with pytest.raises(ZeroDivisionError):
            await client.track_many(source(broken()))
        assert len(fake.events) == 10
        with pytest.raises(LookupError):
            await client.track_many(source(events_of(10)), on_progress=complain)
        with pytest.raises(ZeroDivisionError):
            async for _ in client.stream(source(broken())):
                pass


async def test_outcomes_come_as_they_finish() -> None:
    slow = anyio.Event()

    class Server:
        async def request(self, method: str, url: str, /, *, content: bytes | None, headers: object) -> httpx.Response:
            if content is not None and b'"u0"' in content:
                await slow.wait()
            return httpx.Response(202)

    order: list[str | None] = []
    async with EventsClient(access_token="t", http_client=Server(), concurrency=2) as client:
        async for outcome in client.stream(events_of(4)):
            order.append(outcome.event.user_id)
            if len(order) == 3:
                slow.set()
    assert order == ["u1", "u2", "u3", "u0"]


async def test_no_more_are_under_way_than_allowed_and_none_is_read_ahead_of_a_slow_reader(source: Any) -> None:
    under_way = most = made = 0

    class Server:
        async def request(self, method: str, url: str, /, *, content: bytes | None, headers: object) -> httpx.Response:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            under_way -= 1
            return httpx.Response(202)

    def counted() -> Iterator[Event]:
        nonlocal made
        for event in events_of(500):
            made += 1
            yield event

    async with EventsClient(access_token="t", http_client=Server(), concurrency=5) as client:
        taken = 0
        async for _ in client.stream(source(counted())):
            taken += 1
            await anyio.wait_all_tasks_blocked() if taken == 10 else None
            if taken == 10:
                assert made <= 40
    assert taken == 500
    assert most == 5


async def test_leaving_the_loop_early_stops_the_run(http_client: httpx.AsyncClient, fake: FakeIntercom) -> None:
    async with client_of(http_client) as client:
        async for _ in client.stream(events_of(100_000)):
            break
        gc.collect()
        await anyio.wait_all_tasks_blocked()
        sent = len(fake.requests)
        await anyio.wait_all_tasks_blocked()
        assert len(fake.requests) == sent < 200

        outcomes = client.stream(events_of(100_000))
        await anext(outcomes)
        await outcomes.aclose()
        await anyio.wait_all_tasks_blocked()
        assert len(fake.requests) < 400


async def test_a_client_that_is_closed_ends_its_streams_with_an_error(http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client) as client:
        outcomes = client.stream(events_of(100_000))
        await anext(outcomes)

    async def read_on() -> None:
        for _ in range(100_000):
            await anext(outcomes)

    with pytest.raises(EventError, match="closed"):
        await read_on()


async def test_cancellation_goes_through(http_client: httpx.AsyncClient, source: Any) -> None:
    async with client_of(http_client) as client:
        with anyio.CancelScope() as scope:
            await client.track_many(source(events_of(100_000)), on_progress=lambda _: scope.cancel())
    assert scope.cancelled_caught


async def test_memory_does_not_grow_with_the_number_of_events() -> None:
    class Server:
        async def request(self, method: str, url: str, /, *, content: bytes | None, headers: object) -> httpx.Response:
            return answer

    answer = httpx.Response(202)
    async with EventsClient(access_token="t", http_client=Server()) as client:
        await client.track_many(events_of(100))
        tracemalloc.start()
        try:
            result = await client.track_many(events_of(10_000))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert result.succeeded == 10_000
    # Events alone would be more than 4 MiB; what there is are the hashes of the last 20,000 for collisions.
    assert peak < 2.5 * 2**20


async def test_events_that_would_collapse_are_warned_of_once(
    fake: FakeIntercom, http_client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    events = [Event("placed-order", user_id="u", created_at=1_700_000_000) for _ in range(3)]
    async with client_of(http_client) as client:
        with caplog.at_level(logging.WARNING, logger="starlette_intercom"):
            assert (await client.track_many(events)).succeeded == 3
    assert len(fake.events) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "shift" in caplog.text


async def test_events_that_would_collapse_are_shifted(fake: FakeIntercom, http_client: httpx.AsyncClient) -> None:
    events = [Event("placed-order", user_id="u", created_at=1_700_000_000) for _ in range(3)]
    outcomes: list[Outcome] = []
    async with client_of(http_client) as client:
        async for outcome in client.stream(events, on_collision="shift"):
            outcomes.append(outcome)
    expected = [1_700_000_000, 1_700_000_001, 1_700_000_002]
    assert sorted(event["created_at"] for event in fake.events) == expected
    assert sorted(outcome.event.created_at for outcome in outcomes) == expected


async def test_other_contacts_names_and_seconds_do_not_collide() -> None:
    collisions = Collisions("shift")
    for event in (
        Event("placed-order", user_id="u", created_at=5),
        Event("placed-order", email="u", created_at=5),
        Event("placed-order", user_id="v", created_at=5),
        Event("sent-invoice", user_id="u", created_at=5),
        Event("placed-order", user_id="u", created_at=6),
    ):
        assert collisions.resolve(event) is event


async def test_the_memory_of_collisions_is_bounded() -> None:
    collisions = Collisions("shift", reach=10)
    first = Event("placed-order", user_id="u", created_at=5)
    collisions.resolve(first)
    for number in range(25):
        collisions.resolve(Event("placed-order", user_id=f"u{number}", created_at=5))
    assert collisions.resolve(first) is first
