from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.testclient import TestClient

from starlette_intercom import InboxUnavailable, Intercom, IntercomMiddleware, MemoryInbox, Stats


class Inbox(MemoryInbox):
    away = False

    async def stats(self) -> Stats:
        if self.away:
            raise InboxUnavailable("away")
        return await super().stats()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def app(inbox: Inbox) -> Starlette:
    intercom = Intercom("secret", inbox=inbox)
    return Starlette(
        routes=[Route("/health", intercom.health_endpoint)],
        middleware=[Middleware(IntercomMiddleware, intercom=intercom)],
    )


def test_all_is_well(app: Starlette) -> None:
    with TestClient(app) as client:
        response = client.get("/health")
        assert response.status_code == 200
        assert response.json() == {
            "ok": True,
            "accepting": True,
            "inbox_reachable": True,
            "runner_alive": True,
            "oldest_waiting": 0.0,
            "dead": 0,
        }
        assert client.head("/health").status_code == 200
        assert client.post("/health").status_code == 405


def test_the_inbox_is_away(app: Starlette, inbox: Inbox) -> None:
    with TestClient(app) as client:
        inbox.away = True
        response = client.get("/health")
        assert response.status_code == 503
        assert response.json()["inbox_reachable"] is False
        assert response.json()["oldest_waiting"] is None
        assert client.head("/health").status_code == 503
        inbox.away = False


def test_not_started(app: Starlette) -> None:
    response = TestClient(app).get("/health")
    assert response.status_code == 503
    assert (response.json()["accepting"], response.json()["runner_alive"]) == (False, False)
