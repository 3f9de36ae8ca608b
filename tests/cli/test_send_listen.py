"""``send`` against ``listen``, over real sockets."""

from __future__ import annotations

import re
import signal
import socket

import httpx
import msgspec
import pytest

from starlette_intercom.testing import sample, signed
from tests.cli.conftest import Cli, Process, Start

SECRET = "a-made-up-client-secret"


def listening(start: Start, *options: str) -> tuple[Process, str]:
    process = start("listen", "--port", "0", *options, INTERCOM_CLIENT_SECRET=SECRET)
    process.until(lambda: "Listening" in process.err)
    found = re.search(r"http://\S+", process.err)
    assert found is not None
    return process, found[0]


def shown(process: Process, count: int) -> list[dict[str, object]]:
    process.until(lambda: process.out.count("\n") >= count)
    return [msgspec.json.decode(line) for line in process.out.splitlines()]


def test_one(cli: Cli, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, url = listening(start, "--json", "--payload")
    monkeypatch.setenv("INTERCOM_CLIENT_SECRET", SECRET)
    result = cli("send", "conversation.user.created", "--to", url, "--set", "item.id=5", "--set", "item.state=snoozed")
    assert (result.code, result.err) == (0, "")
    assert re.fullmatch(r'200 {"received":true} in \d+\.\d ms\n', result.out)
    (seen,) = shown(receiver, 1)
    assert (seen["verdict"], seen["topic"]) == ("valid", "conversation.user.created")
    sent = msgspec.convert(seen["notification"], dict)
    assert (sent["data"]["item"]["id"], sent["data"]["item"]["state"]) == (5, "snoozed")
    wrong = cli("send", "ping", "--to", url, "--secret", "other")
    assert (wrong.code, wrong.out.split()[0]) == (1, "401")
    assert shown(receiver, 2)[1]["verdict"] == "invalid"
    assert receiver.end(signal.SIGINT) == 0
    assert "2 requests seen" in receiver.err
    assert SECRET not in receiver.err + receiver.out


def test_a_load(cli: Cli, start: Start) -> None:
    receiver, url = listening(start)
    result = cli("send", "contact.user.created", "--to", url, "--secret", SECRET, "--count", "200", "--duplicate")
    assert result.code == 0
    assert "answered 200\t400\n" in result.out
    receiver.until(lambda: receiver.out.count("valid  contact.user.created") == 400)
    ids = re.findall(r"notif_\S+", receiver.out)
    assert (len(ids), len(set(ids))) == (400, 200)
    paced = cli("send", "ping", "--to", url, "--secret", SECRET, "--count", "6", "--rate", "20", "--json").json
    assert (paced["sent"], paced["statuses"]) == (6, {"200": 6})
    assert paced["seconds"] >= 0.25
    assert 0 < paced["p50_ms"] <= paced["p99_ms"] <= paced["max_ms"]


def test_what_is_no_notification_and_what_could_steer_the_terminal(start: Start) -> None:
    receiver, url = listening(start)
    evil = signed(sample("x\x1b[2J\n.created", item={}), SECRET)
    wrong = signed(b'{"topic": 1}', SECRET)
    with httpx.Client(trust_env=False) as client:
        assert client.head(url).status_code == 200
        assert client.get(url).status_code == 405
        assert client.post(url, content=b"{}").json() == {"error": "Missing X-Hub-Signature"}
        assert client.post(url, content=wrong.body, headers=wrong.headers).status_code == 400
        assert client.post(url, content=bytes(6 * 2**20)).status_code == 413
        assert client.post(url, content=evil.body, headers=evil.headers).status_code == 200
    receiver.until(lambda: "\\x1b[2J\\n.created" in receiver.out)
    assert "\x1b" not in receiver.out
    assert "Intercom's check of the URL" in receiver.out


def test_nobody_answers(cli: Cli) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: refused
        result = cli("send", "ping", "--to", f"http://127.0.0.1:{free.getsockname()[1]}/", "--secret", "s")
    assert result.code == 3
    assert "is the server running?" in result.err


def test_a_port_that_is_taken(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = cli("listen", "--port", str(taken.getsockname()[1]), "--secret", "s")
    assert result.code == 2
    assert "Choose another --port" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["contact.user.craeted", "--to", "http://h/"], "did you mean 'contact.user.created'"),
        (["ping", "--to", "localhost:8000"], "--to takes a URL"),
        (["ping", "--to", "http://h:port/"], "--to takes a URL"),
        (["ping", "--to", "http://h/", "--set", "item"], "--set"),
        (["ping", "--to", "http://h/", "--set", "item.message.x=1"], "leads nowhere"),
        (["ping", "--to", "http://h/", "--count", "0"], "--count"),
    ],
)
def test_mistakes(cli: Cli, arguments: list[str], said: str) -> None:
    result = cli("send", *arguments, "--secret", "s")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert said in result.err
