"""``doctor``: each check, when all is well and when it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

MODULE = """
import httpx
from starlette.applications import Starlette
from starlette_intercom import EventsClient, Intercom, Notification
from starlette_intercom.testing import FakeIntercom

def events(token, accepted="right"):
    fake = FakeIntercom(access_token=accepted, contacts=[])
    http_client = httpx.AsyncClient(transport=httpx.ASGITransport(fake))
    return EventsClient(access_token=token, base_url="http://intercom.test", http_client=http_client)

good = Intercom("hidden", inbox="sqlite:///good.db", events=events("right"))
wrong_token = Intercom("hidden", inbox="sqlite:///good.db", events=events("wr0ng"))
no_directory = Intercom("hidden", inbox="sqlite:///no/where.db")
no_handlers = Intercom("hidden", inbox="sqlite:///good.db")
other = Intercom("hidden")

ran = []
for each in (good, wrong_token, no_directory, other):
    @each.on("contact.*", name="sync")
    def sync(notification: Notification) -> None:
        ran.append(notification)

app = Starlette(lifespan=good.lifespan)
other_app = Starlette(lifespan=other.lifespan)
plain = Starlette()
"""


@pytest.fixture(autouse=True)
def module(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checked.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "checked", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


def verdicts(cli: Cli, *arguments: str) -> tuple[int, dict[str, str]]:
    result = cli("doctor", *arguments, "--json")
    assert "hidden" not in result.out + result.err
    assert "wr0ng" not in result.out + result.err
    return result.code, {check["name"]: check["verdict"] for check in result.json}


def test_all_is_well(cli: Cli) -> None:
    code, found = verdicts(cli, "checked:good", "--app", "checked:app", "--subscribed", "ping,contact.created")
    assert code == 0
    assert found == dict.fromkeys(("secret", "handlers", "topics", "lifespan", "inbox", "token"), "ok")


def test_what_is_not_asked_for_is_skipped(cli: Cli) -> None:
    code, found = verdicts(cli, "checked:other")
    assert code == 0
    assert found == {
        "secret": "ok",
        "inbox": "ok",
        "handlers": "ok",
        "topics": "skipped",
        "lifespan": "skipped",
        "token": "skipped",
    }
    assert "In memory" in cli("doctor", "checked:other").out


@pytest.mark.parametrize(
    ("arguments", "check", "said"),
    [
        ("checked:wrong_token", "token", "401"),
        ("checked:no_handlers", "handlers", "No handler"),
        ("checked:no_directory", "lifespan", "where.db"),
        ("checked:good --app checked:plain", "lifespan", "started no Intercom"),
        ("checked:good --app checked:other_app", "lifespan", "another Intercom"),
        ("checked:good --subscribed conversation.deleted,contact.created", "topics", "conversation.deleted"),
        ("checked:good --subscribed ping", "topics", "contact.*"),
    ],
)
def test_what_fails(cli: Cli, arguments: str, check: str, said: str) -> None:
    code, found = verdicts(cli, *arguments.split())
    assert (code, found[check]) == (1, "failed")
    result = cli("doctor", *arguments.split())
    (line,) = [line for line in result.out.splitlines() if line.startswith("failed")]
    assert said in line
    assert "1 of " in result.err


def test_it_wants_the_intercom(cli: Cli) -> None:
    result = cli("doctor", "checked:app")
    assert (result.code, "--app checked:app" in result.err) == (2, True)
