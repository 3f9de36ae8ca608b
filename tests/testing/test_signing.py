"""Signed requests, and the published vectors."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TypedDict

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from starlette_intercom.errors import ConfigurationError
from starlette_intercom.receiving.signature import (
    BODY_SIGNATURE,
    FIN_SIGNATURE,
    HUB_SIGNATURE,
    SignatureScheme,
    sign,
    verify,
)
from starlette_intercom.testing.samples import sample
from starlette_intercom.testing.signing import signed

GENERATOR = Path(__file__).parents[2] / ".ci" / "generate_signature_vectors.py"
SCHEMES = {"webhook": HUB_SIGNATURE, "canvas_kit": BODY_SIGNATURE, "fin": FIN_SIGNATURE}


class Vector(TypedDict):
    name: str
    scheme: str
    header: str
    secret_text: str
    secret_hex: str
    body_text: str | None
    body_base64: str
    signature: str
    valid: bool


VECTORS: list[Vector] = json.loads(
    files("starlette_intercom.testing").joinpath("signature_vectors.json").read_text(encoding="utf-8")
)["vectors"]


def test_a_delivery_carries_what_intercom_sends() -> None:
    request = signed(sample("contact.user.created"), "secret")
    assert request.headers == {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": "intercom-parrot-service-client/1.0",
        "X-Hub-Signature": sign(request.body, "secret"),
    }
    assert verify(request.body, request.headers["X-Hub-Signature"], {"current": "secret"}) == "current"


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_every_scheme_verifies(scheme: SignatureScheme) -> None:
    request = signed({"workspace_id": "k3v9q0ab"}, "secret", scheme=scheme)
    assert request.body == b'{"workspace_id":"k3v9q0ab"}'
    assert verify(request.body, request.headers[scheme.header], "secret", scheme)
    assert not verify(request.body, request.headers[scheme.header], "other", scheme)


def test_bytes_are_signed_as_they_are() -> None:
    body = b"\xff not JSON"
    request = signed(body, "secret")
    assert request.body == body
    assert verify(body, request.headers["X-Hub-Signature"], "secret")


def test_text_is_sent_as_utf8() -> None:
    request = signed({"name": "Zoë 🚲"}, "secret")
    assert request.body == '{"name":"Zoë 🚲"}'.encode()


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="empty"):
        signed(sample("ping"), "")


def test_a_repr_shows_neither_payload_nor_signature() -> None:
    request = signed({"name": "Noor"}, "secret")
    assert repr(request) == "<SignedRequest of 15 bytes>"


def test_a_test_client_and_httpx_send_it_unchanged() -> None:
    async def endpoint(request: Request) -> PlainTextResponse:
        name = verify(await request.body(), request.headers["X-Hub-Signature"], {"current": "secret"})
        return PlainTextResponse(f"{name} {request.headers['User-Agent']} {request.headers['Content-Type']}")

    request = signed(sample("conversation.user.created"), "secret")
    client = TestClient(Starlette(routes=[Route("/webhooks", endpoint, methods=["POST"])]))
    response = client.post("/webhooks", content=request.body, headers=request.headers)
    assert response.text == "current intercom-parrot-service-client/1.0 application/json"
    sent = httpx.Request("POST", "http://127.0.0.1/webhooks", content=request.body, headers=request.headers)
    assert sent.read() == request.body


def test_the_vectors_are_what_the_generator_writes() -> None:
    done = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['scheme']}: {vector['name']}")
def test_vector(vector: Vector) -> None:
    scheme = SCHEMES[vector["scheme"]]
    body = base64.b64decode(vector["body_base64"])
    secret = vector["secret_text"]
    assert vector["header"] == scheme.header
    assert bytes.fromhex(vector["secret_hex"]) == secret.encode()
    assert vector["body_text"] in (None, body.decode("utf-8", "replace"))
    assert (sign(body, secret, scheme) == vector["signature"]) is vector["valid"]
    assert (verify(body, vector["signature"].encode(), secret, scheme) is not None) is vector["valid"]


def test_the_vectors_cover_every_scheme_and_both_outcomes() -> None:
    assert {(vector["scheme"], vector["valid"]) for vector in VECTORS} == {
        (scheme, valid) for scheme in SCHEMES for valid in (True, False)
    }
    bodies = [base64.b64decode(vector["body_base64"]) for vector in VECTORS]
    assert b"" in bodies
    assert bytes(range(256)) in bodies
