"""The same app behind each server: answered first, handled afterwards, drained before it stops."""

from __future__ import annotations

import socket
import time

import pytest

from tests.factories import envelope, signature
from tests.servers.conftest import SERVERS, Serve, Server


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve(request.param, "shop")


def test_a_signed_delivery_is_handled(server: Server) -> None:
    answer = server.deliver(envelope(id="signed"))
    assert (answer.status, answer.json) == (200, {"received": True})
    server.until_said("handler: end signed")
    assert server.deliver(envelope(id="signed")).json == {"received": True, "duplicate": True}


def test_an_unsigned_or_wrongly_signed_one_is_not(server: Server) -> None:
    assert server.request("POST", "/webhooks/intercom", envelope(id="unsigned")).status == 401
    assert server.deliver(envelope(id="unsigned"), secret="another").json == {"error": "Invalid signature"}
    assert server.deliver(b"{}").status == 400
    assert "unsigned" not in server.output


def test_the_url_is_validated_by_head(server: Server) -> None:
    head = server.request("HEAD", "/webhooks/intercom")
    assert (head.status, head.content) == (200, b"")
    get = server.request("GET", "/webhooks/intercom")
    assert (get.status, get.headers["allow"]) == (405, "POST, HEAD")
    assert server.request("GET", "/health").content == b"ok"


def test_the_answer_does_not_wait_for_the_handler(server: Server) -> None:
    answer = server.deliver(envelope(id="slow", item={"seconds": 10}))
    assert answer.status == 200
    assert answer.seconds < 5
    server.until_said("handler: begin slow")
    fastest = min(server.deliver(envelope(id=f"slow{number}", item={"seconds": 10})).seconds for number in range(10))
    assert fastest < 0.05
    assert "handler: end slow" not in server.output


@pytest.mark.parametrize("rest", [b"zz\r\n", b"-1\r\n", b"1\r\nabc\r\n", b"5\r\nab"])
def test_a_body_that_breaks_off_is_no_500(server: Server, rest: bytes) -> None:
    if "trio" in server.name:
        pytest.skip("hypercorn 0.18 may end all of its trio worker when bytes break the rules of HTTP, with any app")
    with server.connect() as connection:
        lines = b"Host: x\r\n%s: %s\r\nTransfer-Encoding: chunked" % signature(b"abc")
        connection.sendall(b"POST /webhooks/intercom HTTP/1.1\r\n" + lines + b"\r\n\r\n" + rest)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).split(b" ")[1:2] in ([b"400"], [])  # or closed without a word
    assert "Traceback" not in server.output


def test_a_handler_that_raises_harms_nothing(server: Server) -> None:
    assert server.deliver(envelope("contact.user.created", id="fails")).status == 200
    server.until_said("Dead letter workspace1:fails")
    answer = server.deliver(envelope(id="after"))
    assert (answer.status, answer.json) == (200, {"received": True})
    server.until_said("handler: end after")
    assert server.request("GET", "/health").status == 200
    assert "app: down" not in server.output


@pytest.mark.parametrize("name", SERVERS)
def test_a_stop_drains_before_the_app_shuts_down_once(name: str, serve: Serve) -> None:
    server = serve(name, "shop")
    assert server.deliver(envelope(id="running", item={"seconds": 0.5})).status == 200
    server.until_said("handler: begin running")
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 10
    events = [line for line in server.output.splitlines() if line.startswith(("app:", "handler:"))]
    assert events == ["app: up", "handler: begin running", "handler: end running with ['database']", "app: down"]
    assert "Traceback" not in server.output
    assert "unfinished" not in server.output


@pytest.mark.parametrize("name", SERVERS)
def test_a_bare_app_without_a_lifespan_is_wrapped(name: str, serve: Serve) -> None:
    server = serve(name, "bare")
    assert server.request("GET", "/anything").content == b"bare"
    assert server.deliver(envelope(id="a")).status == 200
    server.until_said("handler: end a")
    server.stop()
    assert "Traceback" not in server.output


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("collision", "app.state.intercom is taken by something else: give that another name."),
        ("unset", "INTERCOM_CLIENT_SECRET is not set."),
    ],
)
def test_a_wrong_setting_ends_the_server_with_a_sentence(name: str, app: str, sentence: str, serve: Serve) -> None:
    server = serve(name, app, ready=False)
    code = server.process.wait(20)
    assert code != 0 or name.startswith("hypercorn")  # which ends with 0 whatever stopped its worker
    assert sentence in server.output


@pytest.mark.parametrize("name", ["uvicorn-h11", "uvicorn-httptools"])
def test_without_a_lifespan_one_line_says_what_to_do(name: str, serve: Serve) -> None:
    server = serve(name, "shop", options="--lifespan off")
    for _ in range(3):
        answer = server.deliver(envelope())
        assert (answer.status, answer.json) == (503, {"error": "Try again later"})
        assert answer.headers["retry-after"]
    assert server.request("HEAD", "/webhooks/intercom").status == 200
    assert server.output.count("no lifespan event reached it") == 1
    assert server.output.count("--lifespan on") == 1
