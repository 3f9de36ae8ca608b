"""The events client within an app: in an endpoint, in a dependency, in a handler, and when the app stops."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from starlette_intercom import (
    ConfigurationError,
    Event,
    EventsClient,
    Intercom,
    IntercomMiddleware,
    Notification,
    get_intercom,
)
from starlette_intercom.testing import FakeIntercom, sample, signed


@pytest.fixture
def fake() -> FakeIntercom:
    return FakeIntercom(access_token="token")


@pytest.fixture
def intercom(fake: FakeIntercom) -> Intercom:
    return Intercom("secret", access_token="token", http_client=httpx.AsyncClient(transport=httpx.ASGITransport(fake)))


def names_of(fake: FakeIntercom) -> list[str]:
    return [event["event_name"] for event in fake.events]


def test_in_a_starlette_endpoint(fake: FakeIntercom, intercom: Intercom) -> None:
    async def order(request: Request) -> JSONResponse:
        assert request.app.state.intercom.events is request.state.intercom.events
        await request.app.state.intercom.events.track("placed-order", user_id="1")
        return JSONResponse({})

    app = Starlette(
        routes=[Route("/order", order, methods=["POST"])],
        middleware=[Middleware(IntercomMiddleware, intercom=intercom)],
    )
    with TestClient(app) as client:
        assert client.post("/order").status_code == 200
    assert names_of(fake) == ["placed-order"]


def test_in_a_fastapi_dependency(fake: FakeIntercom, intercom: Intercom) -> None:
    app = FastAPI()
    app.add_middleware(IntercomMiddleware, intercom=intercom)

    @app.post("/plan")
    async def plan(intercom: Annotated[Intercom, Depends(get_intercom)]) -> None:
        await intercom.events.track("upgraded-plan", user_id="1")

    with TestClient(app) as client:
        assert client.post("/plan").status_code == 200
    assert names_of(fake) == ["upgraded-plan"]


def test_in_a_handler_and_what_it_enqueued_is_sent_before_the_app_has_stopped(
    fake: FakeIntercom, intercom: Intercom
) -> None:
    @intercom.on("contact.user.created")
    async def greet(notification: Notification, events: EventsClient, whole: Intercom) -> None:
        assert events is whole.events
        await events.track("sent-greeting", user_id=notification.item["external_id"])
        events.enqueue(Event("sent-invoice", user_id=notification.item["external_id"]))

    app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
    request = signed(sample("contact.user.created"), "secret")
    with TestClient(app) as client:
        client.post("/webhooks/intercom", content=request.body, headers=request.headers)
    assert sorted(names_of(fake)) == ["sent-greeting", "sent-invoice"]


def test_what_is_enqueued_lies_in_the_file_of_a_sqlite_inbox(tmp_path: Path) -> None:
    """A first app cannot reach Intercom; the next one to use the file sends what the first was given."""
    away = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(500)))
    url = f"sqlite:///{tmp_path}/intercom.db"
    first = Intercom("secret", access_token="token", inbox=url, http_client=away, drain_timeout=0.2)

    async def store(request: Request) -> JSONResponse:
        await request.app.state.intercom.events.enqueue(Event("placed-order", user_id="1"))
        return JSONResponse({})

    routes = [Route("/", store, methods=["POST"])]
    with TestClient(Starlette(routes=routes, middleware=[Middleware(IntercomMiddleware, intercom=first)])) as client:
        client.post("/")

    fake = FakeIntercom(access_token="token")
    back = httpx.AsyncClient(transport=httpx.ASGITransport(fake))
    second = Intercom("secret", access_token="token", inbox=url, http_client=back)
    with TestClient(Starlette(middleware=[Middleware(IntercomMiddleware, intercom=second)])):
        pass
    assert names_of(fake) == ["placed-order"]


def test_without_a_token_it_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="access_token"):
        _ = Intercom("secret").events


def test_a_client_of_ones_own_goes_alone() -> None:
    with pytest.raises(ConfigurationError, match="either"):
        Intercom("secret", access_token="token", events=EventsClient(access_token="token"))
