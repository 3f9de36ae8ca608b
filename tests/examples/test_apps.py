"""The examples that receive: what each shows is what it does."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from starlette_intercom import BODY_SIGNATURE, FIN_SIGNATURE, HUB_SIGNATURE, SignatureScheme
from starlette_intercom.testing import sample, signed
from tests.examples.conftest import FIN_SECRET, Load
from tests.factories import SECRET

PATH = "/webhooks/intercom"


def deliver(app: ASGIApp, *topics: str, path: str = PATH, overrides: Mapping[str, object] | None = None) -> None:
    """Send a notification of each topic, and wait until the handlers are done."""
    with TestClient(app) as client:
        for topic in topics:
            request = signed(sample(topic, **(overrides or {})), SECRET)
            response = client.post(path, content=request.body, headers=request.headers)
            assert response.json() == {"received": True}


@pytest.mark.parametrize("name", ["quickstart", "fastapi_app", "wrap_any_app", "split_registry.app", "canvas_kit"])
def test_a_conversation_reaches_its_handler(name: str, load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(load(name).app, "conversation.user.created", overrides={"item.id": "7001"})
    assert "7001" in capsys.readouterr().out


def test_a_fastapi_endpoint_gets_the_intercom(load: Load) -> None:
    with TestClient(load("fastapi_app").app) as client:
        assert client.get("/backlog").json() == {"waiting": 0, "running": 0, "dead": 0}


@pytest.mark.parametrize("path", [PATH, "/hooks/"])
def test_the_route_and_the_mount_use_what_the_own_lifespan_made(path: str, load: Load) -> None:
    deliver(
        load("mounted").app, "conversation.user.created", path=path, overrides={"item.id": "7001", "created_at": 1000}
    )
    database = sqlite3.connect("conversations.db")
    assert database.execute("SELECT * FROM conversation").fetchall() == [("7001", 1000)]
    database.close()


def test_the_mount_without_its_slash_is_redirected(load: Load) -> None:
    with TestClient(load("mounted").app, follow_redirects=False) as client:
        assert client.post("/hooks").status_code == 307


def test_the_wrapped_app_gets_the_rest(load: Load) -> None:
    with TestClient(load("wrap_any_app").app) as client:
        assert client.get("/anything").text == "Your own app is not touched.\n"


def test_handlers_and_hooks_of_all_modules_run(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    app = load("split_registry.app").app
    deliver(app, "conversation.admin.closed", "contact.user.created", "ticket.created", overrides={"item.id": "7001"})
    assert set(capsys.readouterr().out.splitlines()) == {
        "archived 7001",
        "synced contact 7001",
        "nobody handles ticket.created",
    }
    deliver(app, "contact.lead.created", overrides={"item.email": None})
    said = capsys.readouterr().out
    assert said == (
        "split_registry.contacts.sync_crm failed on contact.lead.created: a contact without an email address\n"
    )


@pytest.mark.parametrize(
    ("topic", "overrides", "said"),
    [
        ("contact.user.created", {"item.email": "ada@example.com"}, "welcome ada@example.com"),
        ("company.created", {"item.name": "Bikes", "item.monthly_spend": 12.5}, "Bikes spends 12.50 a month"),
        ("conversation.admin.closed", {"item.id": "5"}, "conversation 5 is closed"),
        ("ticket.created", {"item.ticket_id": "17"}, "ticket 17 is submitted"),
        ("contact.lead.created", {"item.id": "9"}, "lead 9"),
    ],
)
def test_every_kind_of_type_is_filled(
    topic: str, overrides: dict[str, object], said: str, load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(load("typed_payloads").app, topic, overrides=overrides)
    assert capsys.readouterr().out.splitlines() == [said]


@pytest.mark.parametrize(
    ("topic", "field"),
    [
        ("contact.user.created", "item.role"),
        ("company.created", "item.name"),
        ("conversation.admin.closed", "item.state"),
        ("ticket.created", "item.ticket_state.category"),
    ],
)
def test_what_does_not_fit_names_the_field(
    topic: str, field: str, load: Load, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(load("typed_payloads").app, topic, overrides={field: 5})
    assert f"data.{field}" in caplog.text
    assert "Dead letter" in caplog.text
    assert capsys.readouterr().out == ""


SIGNED: list[tuple[str, SignatureScheme, str, dict[str, Any], str]] = [
    ("/intercom/initialize", BODY_SIGNATURE, SECRET, {"workspace_id": "w"}, "Order number"),
    ("/intercom/submit", BODY_SIGNATURE, SECRET, {"input_values": {"order": "A-1"}}, "Order A-1 is on its way."),
    ("/intercom/health", BODY_SIGNATURE, SECRET, {"workspace_id": "w"}, '"state":"OK"'),
    ("/intercom/uninstall", BODY_SIGNATURE, SECRET, {"app_id": "w"}, ""),
    ("/fin/events", FIN_SIGNATURE, FIN_SECRET, {"event_name": "fin_replied"}, ""),
    ("/fin/events", FIN_SIGNATURE, FIN_SECRET, {"event_name": "csat_requested"}, ""),
]


@pytest.mark.parametrize(("path", "scheme", "secret", "content", "answer"), SIGNED)
def test_every_signed_endpoint_answers_intercom_alone(
    path: str, scheme: SignatureScheme, secret: str, content: dict[str, Any], answer: str, load: Load
) -> None:
    request = signed(content, secret, scheme=scheme)
    with TestClient(load("canvas_kit").app) as client:
        response = client.post(path, content=request.body, headers=request.headers)
        assert response.status_code == 200
        assert answer in response.text
        unsigned = client.post(path, content=request.body)
        assert (unsigned.status_code, unsigned.json()) == (401, {"error": f"Missing {scheme.header}"})
        for other in {HUB_SIGNATURE, BODY_SIGNATURE, FIN_SIGNATURE} - {scheme}:
            forged = signed(content, secret, scheme=other)
            assert client.post(path, content=forged.body, headers=forged.headers).status_code == 401
