"""Tests of app.py: Intercom's requests are made and signed here, and its API is a fake."""

# ruff: noqa: S101, S105, S106 - asserts, and secrets that are made up

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from starlette_intercom import Intercom
from starlette_intercom.testing import FakeIntercom, SignedRequest, sample, signed

from .app import create_app

PATH = "/webhooks/intercom"
SECRET = "a-made-up-secret"
TOKEN = "a-made-up-token"


@pytest.fixture
def fake() -> FakeIntercom:
    return FakeIntercom(access_token=TOKEN)


@pytest.fixture
def intercom(fake: FakeIntercom) -> Intercom:
    return Intercom(SECRET, access_token=TOKEN, http_client=httpx.AsyncClient(transport=httpx.ASGITransport(fake)))


@pytest.fixture
def app(intercom: Intercom) -> Starlette:
    return create_app(intercom)


def conversation_of(author: str, *, type: str = "user", secret: str = SECRET) -> SignedRequest:
    overrides = {"item.source.author.id": author, "item.source.author.type": type}
    return signed(sample("conversation.user.created", **overrides), secret)


def test_a_conversation_is_counted(app: Starlette, fake: FakeIntercom) -> None:
    request = conversation_of("contact-1")
    with TestClient(app) as client:
        response = client.post(PATH, content=request.body, headers=request.headers)
    assert response.json() == {"received": True}
    # Leaving the block stopped the app, which waits until its handlers have finished.
    assert [(event["event_name"], event["id"]) for event in fake.events] == [("started-conversation", "contact-1")]


def test_a_conversation_that_comes_twice_is_counted_once(app: Starlette, fake: FakeIntercom) -> None:
    request = conversation_of("contact-1")
    with TestClient(app) as client:
        client.post(PATH, content=request.body, headers=request.headers)
        again = client.post(PATH, content=request.body, headers=request.headers)
    assert again.json() == {"received": True, "duplicate": True}
    assert len(fake.events) == 1


def test_a_forged_conversation_is_refused(app: Starlette, fake: FakeIntercom) -> None:
    request = conversation_of("contact-1", secret="another secret")
    with TestClient(app) as client:
        response = client.post(PATH, content=request.body, headers=request.headers)
    assert response.status_code == 401
    assert fake.events == []


def test_a_conversation_is_counted_although_intercom_fails_at_first(app: Starlette, fake: FakeIntercom) -> None:
    fake.inject("server_error")
    request = conversation_of("contact-1")
    with TestClient(app) as client:
        client.post(PATH, content=request.body, headers=request.headers)
    assert len(fake.events) == 1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# In one event loop with the app a test can look into the inbox.
@pytest.mark.anyio
async def test_a_conversation_of_a_lead_becomes_a_dead_letter(app: Starlette, intercom: Intercom) -> None:
    request = conversation_of("contact-1", type="lead")
    transport = httpx.ASGITransport(app)
    async with intercom.lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.post(PATH, content=request.body, headers=request.headers)
        await intercom.drain()  # wait for the handlers
        (letter,) = await intercom.dead_letters.list()
    assert letter.topic == "conversation.user.created"
    assert letter.error is not None
    assert letter.error.message == "conversations of leads are not counted"
