"""``track`` against a fake Intercom behind a real server: failures, breaks, kills."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
import uvicorn

from starlette_intercom.testing import FakeIntercom
from tests.cli.conftest import DEADLINE, Cli, Process, Start

LINES = 5000
TOKEN = "fake-token"

Serve = Callable[[FakeIntercom], str]


@contextmanager
def serving(fake: FakeIntercom) -> Iterator[str]:
    config = uvicorn.Config(fake, log_level="critical", access_log=False, date_header=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda fake: stack.enter_context(serving(fake))


@pytest.fixture(autouse=True)
def token(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERCOM_ACCESS_TOKEN", TOKEN)


def write(path: Path, count: int) -> None:
    """Write events of which some have the time and some have none, and two contacts are unknown."""
    with path.open("w") as file:
        for number in range(count):
            fields: dict[str, object] = {"event_name": "placed-order", "user_id": f"u{number % (count - 100)}"}
            if number % 2:
                fields["created_at"] = 1_750_000_000 + number
            file.write(json.dumps(fields) + "\n")


def has_got(fake: FakeIntercom, count: int) -> bool:
    return len(fake.events) > count


def test_5000_lines_killed_in_the_middle_and_resumed_arrive_once(start: Start, serve: Serve, tmp_path: Path) -> None:
    contacts = {f"u{number}" for number in range(LINES)} - {"u7", "u2600"}
    fake = FakeIntercom(access_token=TOKEN, limit=1_000_000, contacts=contacts)
    url = serve(fake)
    file = tmp_path / "events.ndjson"
    write(file, LINES)
    command = ("track", str(file), "--base-url", url)
    for reached in (LINES // 5, LINES // 2):
        process = start(*command)
        process.until(partial(has_got, fake, reached))
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
        assert (tmp_path / "events.ndjson.progress").exists()
    sent_before = len(fake.requests)
    last = start(*command, "--json")
    code = last.process.wait(DEADLINE)
    # The numbers u7 and u2600 are among those that occur once.
    failed = {7 + 1, 2600 + 1, LINES - 100 + 7 + 1}
    assert (code, json.loads(last.out)) == (1, {"succeeded": LINES - 3, "failed": 3, "complete": True})
    assert re.search(r"Going on after \d+ lines", last.err)
    assert len(fake.events) == LINES - 3
    assert max(Counter((event["user_id"], event["created_at"]) for event in fake.events).values()) == 1
    again = len(fake.requests) - LINES
    assert 0 <= again < 2500, f"{again} were sent again"
    assert sent_before < len(fake.requests)
    assert not (tmp_path / "events.ndjson.progress").exists()
    failures = [json.loads(line) for line in (tmp_path / "events.ndjson.failed.ndjson").read_text().splitlines()]
    assert {failure["line"] for failure in failures} == failed
    assert len(failures) == 3


def test_failures_are_fed_in_again(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    contacts = {"u1"}
    fake = FakeIntercom(access_token=TOKEN, contacts=contacts)
    url = serve(fake)
    (tmp_path / "events.csv").write_text(
        "event_name,user_id,metadata.items\nplaced-order,u1,1\nplaced-order,u2,2\n,u3,\n"
    )
    first = cli("track", "events.csv", "--base-url", url)
    assert (first.code, first.out) == (1, "1 events sent, 2 failed.\n")
    assert "events.csv.failed.ndjson" in first.err
    failures = tmp_path / "events.csv.failed.ndjson"
    assert failures.stat().st_mode & 0o777 == 0o600
    assert "User Not Found" in failures.read_text()
    blocked = cli("track", "events.csv", "--base-url", url)
    assert (blocked.code, "exists already" in blocked.err) == (2, True)
    contacts.add("u2")
    second = cli("track", failures.name, "--base-url", url, "--json")
    assert second.json == {"succeeded": 1, "failed": 1, "complete": True}
    assert [(event["user_id"], event["metadata"]) for event in fake.events] == [
        ("u1", {"items": 1}),
        ("u2", {"items": 2}),
    ]


def test_standard_input(cli: Cli, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeIntercom(access_token=TOKEN)
    url = serve(fake)
    monkeypatch.setattr(sys, "stdin", StringIO('{"name": "placed-order", "user_id": "u1"}\n'))
    assert cli("track", "-", "--base-url", url).code == 2
    result = cli("track", "-", "--format", "ndjson", "--base-url", url)
    assert (result.code, result.out, result.err) == (0, "1 events sent, 0 failed.\n", "")
    assert len(fake.events) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_it_and_it_goes_on_later(cli: Cli, start: Start, serve: Serve, tmp_path: Path) -> None:
    fake = FakeIntercom(access_token=TOKEN, limit=1_000_000, latency=0.05)
    url = serve(fake)
    write(tmp_path / "events.ndjson", 400)
    process: Process = start("track", "events.ndjson", "--base-url", url)
    process.until(lambda: len(fake.events) > 100)
    assert process.end(signal.SIGINT) == 130
    assert "Run the same command again" in process.err
    assert cli("track", "events.ndjson", "--base-url", url).code == 0
    assert len(fake.events) == 400


def test_a_file_that_was_changed_meanwhile_is_not_gone_on_with(
    cli: Cli, start: Start, serve: Serve, tmp_path: Path
) -> None:
    fake = FakeIntercom(access_token=TOKEN, limit=1_000_000)
    url = serve(fake)
    write(tmp_path / "events.ndjson", 3000)
    process = start("track", "events.ndjson", "--base-url", url)
    process.until(lambda: len(fake.events) > 100)
    process.end(signal.SIGKILL)
    write(tmp_path / "events.ndjson", 2999)
    result = cli("track", "events.ndjson", "--base-url", url)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "events.ndjson.progress" in result.err


def test_a_token_that_is_refused_stops_it(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    url = serve(FakeIntercom(access_token="another"))
    write(tmp_path / "events.ndjson", 200)
    result = cli("track", "events.ndjson", "--base-url", url)
    assert result.code == 1
    assert "401" in result.err
    assert TOKEN not in result.err
    assert not (tmp_path / "events.ndjson.failed.ndjson").exists()


def test_an_intercom_that_is_away_is_no_fault_of_the_events(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starlette_intercom.cli.track._PATIENCE", 0.2)
    write(tmp_path / "events.ndjson", 200)
    result = cli("track", "events.ndjson", "--base-url", "http://127.0.0.1:9")
    assert (result.code, result.err.count("\n")) == (3, 1)
    assert not (tmp_path / "events.ndjson.failed.ndjson").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("events.txt", "--format csv"),
        ("latin.csv", "not UTF-8"),
        ("events.csv --region mars", "us, eu or au"),
        ("events.csv --base-url intercom", "base_url"),
        ("no-heading.csv", "event_name"),
    ],
)
def test_mistakes(cli: Cli, tmp_path: Path, arguments: str, said: str) -> None:
    (tmp_path / "events.txt").write_text("")
    (tmp_path / "latin.csv").write_bytes(b"event_name\n\xe9\n")
    (tmp_path / "events.csv").write_text("event_name,user_id\nplaced-order,u\n")
    (tmp_path / "no-heading.csv").write_text("placed-order,u\n")
    result = cli("track", *arguments.split())
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert said in result.err
    assert not list(tmp_path.glob("*.progress")), "nothing was sent, so there is nothing to go on with"


def test_another_place_for_failures_is_not_gone_on_with(cli: Cli, start: Start, serve: Serve, tmp_path: Path) -> None:
    fake = FakeIntercom(access_token=TOKEN, limit=1_000_000, contacts=[])
    url = serve(fake)
    write(tmp_path / "events.ndjson", 3000)
    process = start("track", "events.ndjson", "--base-url", url, "--failures", "first")
    process.until(lambda: (tmp_path / "first").exists() and (tmp_path / "first").stat().st_size)
    process.end(signal.SIGKILL)
    (tmp_path / "precious").write_text("mine\n" * 100_000)
    result = cli("track", "events.ndjson", "--base-url", url, "--failures", "precious")
    assert (result.code, "--failures" in result.err) == (2, True)
    assert (tmp_path / "precious").read_text() == "mine\n" * 100_000


def test_failures_that_were_taken_away_meanwhile(cli: Cli, start: Start, serve: Serve, tmp_path: Path) -> None:
    fake = FakeIntercom(access_token=TOKEN, limit=1_000_000, contacts=[])
    url = serve(fake)
    write(tmp_path / "events.ndjson", 600)
    failures = tmp_path / "events.ndjson.failed.ndjson"
    process = start("track", "events.ndjson", "--base-url", url)
    process.until(lambda: failures.exists() and failures.stat().st_size)
    process.end(signal.SIGKILL)
    failures.unlink()
    assert cli("track", "events.ndjson", "--base-url", url).code == 1
    numbers = [json.loads(line)["line"] for line in failures.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 601))


def test_without_a_token(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERCOM_ACCESS_TOKEN")
    (tmp_path / "events.ndjson").write_text("")
    result = cli("track", "events.ndjson")
    assert (result.code, "INTERCOM_ACCESS_TOKEN" in result.err) == (2, True)
