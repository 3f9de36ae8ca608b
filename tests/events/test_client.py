"""One event at a time: what is sent, what is tried again, what is raised."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest

from starlette_intercom.errors import (
    ConfigurationError,
    ContactNotFound,
    EventApiError,
    EventRejected,
    IntercomUnavailable,
    InvalidEvent,
    RateLimited,
    Unauthorized,
)
from starlette_intercom.events import Event, EventsClient, Money
from starlette_intercom.testing import FakeIntercom

pytestmark = pytest.mark.anyio

TOKEN = "fake-token"


def client_of(http_client: Any, **options: Any) -> EventsClient:
    return EventsClient(**{"access_token": TOKEN, "http_client": http_client, **options})


def answering(*answers: httpx.Response | Exception) -> tuple[httpx.AsyncClient, list[httpx.Request]]:
    """An HTTP client that gives these answers in turn, the last one for ever."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        found = answers[min(len(requests), len(answers)) - 1]
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found.status_code, content=found.content, headers=found.headers)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer)), requests


async def test_an_event_arrives_as_it_was_given(fake: FakeIntercom, http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client) as events:
        await events.track(
            "placed-order",
            user_id="u1",
            created_at=datetime(2024, 1, 1, tzinfo=UTC),
            metadata={"total": Money(34999, "eur"), "items": 3},
        )
        await events.track("sent-invoice", email="ann@example.org")
    first, second = fake.events
    assert first["created_at"] == 1_704_067_200
    assert first["metadata"] == {"total": {"amount": 34999, "currency": "eur"}, "items": 3}
    assert abs(second["created_at"] - time.time()) < 60


async def test_the_headers_that_intercom_asks_for(fake: FakeIntercom, http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client, api_version="2.11") as events:
        await events.track("placed-order", user_id="u1")
    headers = fake.requests[0].headers
    assert headers["intercom-version"] == "2.11"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("starlette-intercom/")


@pytest.mark.parametrize(
    ("region", "host"), [("us", "api.intercom.io"), ("eu", "api.eu.intercom.io"), ("au", "api.au.intercom.io")]
)
async def test_each_region_has_its_host(region: str, host: str) -> None:
    http_client, requests = answering(httpx.Response(202))
    async with http_client, client_of(http_client, region=region) as events:
        await events.track("placed-order", user_id="u1")
    assert str(requests[0].url) == f"https://{host}/events"


async def test_an_invalid_event_is_not_sent(fake: FakeIntercom, http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client) as events:
        with pytest.raises(InvalidEvent):
            await events.track("placed-order")
    assert fake.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, EventRejected), (401, Unauthorized), (403, Unauthorized), (404, ContactNotFound), (422, EventRejected)],
)
async def test_what_intercom_refuses_is_raised_at_once(status: int, kind: type[EventApiError]) -> None:
    http_client, requests = answering(httpx.Response(status, json={"errors": [{"code": "c"}], "request_id": "r"}))
    async with http_client, client_of(http_client) as events:
        with pytest.raises(kind) as caught:
            await events.track("placed-order", user_id="u1")
    assert (caught.value.status, caught.value.codes, caught.value.request_id) == (status, ("c",), "r")
    assert len(requests) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(408),
        httpx.Response(500, content=b"<html>"),
        httpx.Response(503),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("reset"),
        ConnectionResetError(),
        httpx.Response(429),
        httpx.Response(429, headers={"retry-after": "0"}),
    ],
    ids=str,
)
async def test_what_may_pass_is_tried_again_with_the_same_bytes(trouble: httpx.Response | Exception) -> None:
    http_client, requests = answering(trouble, trouble, httpx.Response(202))
    async with http_client, client_of(http_client) as events:
        await events.track("placed-order", user_id="u1")
    assert len(requests) == 3
    assert len({request.content for request in requests}) == 1
    assert json.loads(requests[0].content)["created_at"] > 0


async def test_the_deadline_ends_the_tries_with_the_last_error() -> None:
    http_client, requests = answering(httpx.Response(503, json={"errors": [{"code": "busy"}]}))
    async with http_client, client_of(http_client, deadline=0.5) as events:
        with pytest.raises(IntercomUnavailable) as caught:
            await events.track("placed-order", user_id="u1")
    assert caught.value.codes == ("busy",)
    assert len(requests) >= 2


async def test_a_429_beyond_the_deadline_is_rate_limited_and_tells_the_reset() -> None:
    headers = {
        "x-ratelimit-limit": "83",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "1700000009",
        "date": "Tue, 14 Nov 2023 22:13:20 GMT",  # 1700000000; our own clock is years ahead
    }
    http_client, requests = answering(httpx.Response(429, headers=headers))
    async with http_client, client_of(http_client, deadline=0.2) as events:
        with pytest.raises(RateLimited) as caught:
            await events.track("placed-order", user_id="u1")
        assert caught.value.reset_after == pytest.approx(9.0, abs=0.5)
        # The others wait, too, and do not ask.
        with pytest.raises(RateLimited):
            await events.track("placed-order", user_id="u2")
    assert len(requests) == 1


async def test_a_server_that_does_not_answer_costs_one_try_only() -> None:
    calls = 0

    class Slow:
        async def request(
            self, method: str, url: str, /, *, content: bytes | None, headers: Mapping[str, str] | None
        ) -> httpx.Response:
            nonlocal calls
            calls += 1
            if calls == 1:
                await anyio.sleep_forever()
            return httpx.Response(202)

    async with client_of(Slow(), timeout=0.05) as events:
        await events.track("placed-order", user_id="u1")
    assert calls == 2


async def test_a_deadline_within_the_first_try_means_unavailable() -> None:
    class Silent:
        async def request(
            self, method: str, url: str, /, *, content: bytes | None, headers: Mapping[str, str] | None
        ) -> httpx.Response:
            await anyio.sleep_forever()
            raise AssertionError

    async with client_of(Silent(), deadline=0.05) as events:
        with pytest.raises(IntercomUnavailable):
            await events.track("placed-order", user_id="u1")


async def test_cancellation_goes_through() -> None:
    http_client, _ = answering(httpx.Response(503))
    finished = False
    async with http_client, client_of(http_client) as events:
        with anyio.move_on_after(0.1) as scope:
            await events.track("placed-order", user_id="u1")
            finished = True
    assert scope.cancelled_caught
    assert not finished


async def test_a_hook_of_the_users_client_that_fails_is_no_connection_trouble() -> None:
    http_client, requests = answering(ZeroDivisionError())
    async with http_client, client_of(http_client) as events:
        with pytest.raises(EventApiError) as caught:
            await events.track("placed-order", user_id="u1")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert len(requests) == 1


async def test_the_token_is_nowhere_to_be_read(caplog: pytest.LogCaptureFixture) -> None:
    token = "tok_very_s3cret"
    http_client, _ = answering(httpx.Response(401, json={"errors": [{"code": token, "message": token}]}))
    with caplog.at_level(logging.DEBUG):
        async with http_client, client_of(http_client, access_token=token) as events:
            with pytest.raises(Unauthorized) as caught:
                await events.track("placed-order", user_id="u1")
            assert token not in repr(events) + repr(vars(events))
    assert token not in repr(caught.value) + str(caught.value) + caplog.text


async def test_the_users_client_is_not_closed() -> None:
    http_client, _ = answering(httpx.Response(202))
    async with http_client:
        async with client_of(http_client) as events:
            await events.track("placed-order", user_id="u1")
        assert not http_client.is_closed


async def test_a_client_can_be_started_again_but_not_twice(http_client: httpx.AsyncClient, fake: FakeIntercom) -> None:
    events = client_of(http_client)
    for _ in range(2):
        async with events:
            await events.track("placed-order", user_id="u1")
            with pytest.raises(ConfigurationError, match="already"):
                await events.run()
    assert len(fake.requests) == 2


async def test_a_client_that_is_not_running_says_what_to_do(http_client: httpx.AsyncClient) -> None:
    events = client_of(http_client)
    with pytest.raises(ConfigurationError, match="async with"):
        await events.track("placed-order", user_id="u1")
    with pytest.raises(ConfigurationError, match="async with"):
        events.enqueue(Event("placed-order", user_id="u1"))


async def test_what_the_caller_raises_leaves_as_it_is(http_client: httpx.AsyncClient) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client_of(http_client):
            raise ZeroDivisionError


async def test_a_name_is_refused_where_names_are_strict(http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client, strict_names=True) as events:
        with pytest.raises(InvalidEvent):
            await events.track("click", user_id="u1")


@pytest.mark.parametrize(
    "options",
    [
        {"access_token": ""},
        {"access_token": "two words"},
        {"access_token": "line\nbreak"},
        {"access_token": "tökén"},
        {"region": "mars"},
        {"base_url": "api.intercom.io"},
        {"base_url": "ftp://api.intercom.io"},
        {"base_url": "https://api.intercom.io?x=1"},
        {"api_version": "2.1\n"},
        {"concurrency": 0},
        {"concurrency": 21},
        {"timeout": 0},
        {"deadline": float("inf")},
        {"drain_timeout": -1},
        {"rate_share": 0},
        {"rate_share": 1.1},
        {"buffer": 0},
    ],
    ids=str,
)
async def test_settings_that_cannot_work_fail_at_construction(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EventsClient(**{"access_token": TOKEN, **options})
    assert "tökén" not in str(caught.value)


async def test_a_users_client_may_have_more_connections(http_client: httpx.AsyncClient) -> None:
    client_of(http_client, concurrency=100)


async def test_listing_reads_page_by_page(fake: FakeIntercom, http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client) as events:
        for second in range(7):
            await events.track("placed-order", user_id="u1", created_at=1_700_000_000 + second, metadata={"n": second})
        await events.track("placed-order", user_id="other")
        del fake.requests[:]
        listed = await events.list(user_id="u1", per_page=3)
        assert [event.metadata["n"] for event in listed] == [6, 5, 4, 3, 2, 1, 0]
        assert len(fake.requests) == 3
        del fake.requests[:]
        async for event in events.list(user_id="u1", per_page=3):
            assert event.created_at == 1_700_000_006
            break
        assert len(fake.requests) == 1


async def test_listing_by_intercoms_id_and_by_email(fake: FakeIntercom, http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client) as events:
        await events.track("placed-order", id="6762f2")
        await events.track("placed-order", email="a+b@example.org")
        assert len(await events.list(id="6762f2")) == 1
        assert len(await events.list(email="a+b@example.org")) == 1
        with pytest.raises(InvalidEvent):
            events.list(id="x", email="y")
    assert fake.requests[2].query["intercom_user_id"] == "6762f2"
    assert "ann" not in repr(await _first(fake, http_client))


async def _first(fake: FakeIntercom, http_client: httpx.AsyncClient) -> object:
    async with client_of(http_client) as events:
        await events.track("placed-order", email="ann@example.org", metadata={"who": "ann"})
        return (await events.list(email="ann@example.org"))[0]


async def test_the_token_goes_to_no_other_host_and_a_circle_of_pages_ends() -> None:
    page = {"events": [{"event_name": "x-y", "created_at": 1}], "pages": {"next": "https://evil.example/events?page=2"}}
    http_client, requests = answering(httpx.Response(200, json=page))
    async with http_client, client_of(http_client) as events:
        assert len(await events.list(user_id="u")) == 2
    assert {request.url.host for request in requests} == {"api.intercom.io"}


async def test_an_answer_that_is_no_listing_is_an_error() -> None:
    http_client, _ = answering(httpx.Response(200, content=b"<html>"))
    async with http_client, client_of(http_client) as events:
        with pytest.raises(EventApiError):
            await events.list(user_id="u")
        with pytest.raises(EventApiError):
            await events.summaries(user_id="u")


async def test_summaries_are_recorded_and_read(http_client: httpx.AsyncClient) -> None:
    async with client_of(http_client) as events:
        await events.record_summary("placed-order", user_id="u1", count=3, first=1_700_000_000, last=1_700_000_300)
        (summary,) = await events.summaries(user_id="u1")
        with pytest.raises(InvalidEvent):
            await events.record_summary("placed-order", user_id="u1", count=0, first=1, last=2)
    assert (summary.name, summary.count) == ("placed-order", 3)
    assert summary.first == datetime.fromtimestamp(1_700_000_000, UTC)


async def test_a_summary_is_not_sent_twice_unless_intercom_did_not_take_it() -> None:
    lost, requests = answering(httpx.ReadTimeout("slow"))
    async with lost, client_of(lost) as events:
        with pytest.raises(IntercomUnavailable):
            await events.record_summary("placed-order", user_id="u1", count=3, first=1, last=2)
    assert len(requests) == 1
    limited, requests = answering(httpx.Response(429, headers={"retry-after": "0"}), httpx.Response(200))
    async with limited, client_of(limited) as events:
        await events.record_summary("placed-order", user_id="u1", count=3, first=1, last=2)
    assert len(requests) == 2
