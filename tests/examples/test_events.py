"""The examples that send events."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from starlette_intercom import EventsClient
from starlette_intercom.testing import FakeIntercom, sample, signed
from tests.examples.conftest import EXAMPLES, TOKEN, Load, transport_of
from tests.factories import SECRET


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)


@pytest.mark.usefixtures("in_front_of_fake")
def test_an_app_sends_at_once_later_and_many(load: Load, fake: FakeIntercom) -> None:
    order = {"id": "A-1", "user_id": "user-1", "cents": 34999, "items": 3}
    request = signed(sample("conversation.user.created", **{"item.source.author.id": "contact-1"}), SECRET)
    with TestClient(load("send_events").app) as client:
        assert client.post("/orders", json=order).status_code == 201
        assert client.post("/orders", json={**order, "user_id": "nobody"}).status_code == 409
        assert client.post("/views", json={"user_id": "user-1", "page": "/pricing"}).status_code == 202
        plans = client.post("/plans", json=["user-1", "user-2", "nobody"])
        assert plans.json() == {"sent": 2, "failed": 1}
        client.post("/webhooks/intercom", content=request.body, headers=request.headers)
        # Not left to the end: what is stored safely and has not begun by then waits for the next start.
        until(lambda: "started-conversation" in [event["event_name"] for event in fake.events])
    assert sorted(event["event_name"] for event in fake.events) == [
        "placed-order",
        "started-conversation",
        "upgraded-plan",
        "upgraded-plan",
        "viewed-page",
    ]
    assert fake.events[0]["metadata"] == {
        "total": {"amount": 34999, "currency": "eur"},
        "order": {"url": "https://shop.example.com/orders/A-1", "value": "A-1"},
        "items": 3,
    }


@pytest.mark.anyio
async def test_a_script_sends_a_file(
    load: Load, fake: FakeIntercom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backfill = load("backfill")
    path = tmp_path / "orders.csv"
    path.write_text("user_id,placed_at,cents\nuser-1,1000,500\nuser-2,1001,600\nnobody,1002,700\n")
    async with (
        transport_of(fake) as http_client,
        EventsClient(access_token=TOKEN, http_client=http_client) as events,
    ):
        result = await backfill.send(events, path)
        await backfill.send(events, path)  # again: Intercom drops the repeats
    assert (result.succeeded, result.failed_count) == (2, 1)
    assert {(event["user_id"], event["created_at"]) for event in fake.events} == {("user-1", 1000), ("user-2", 1001)}
    said = capsys.readouterr()
    assert "2 sent, 1 failed" in said.out
    assert "nobody: " in said.err


def test_a_script_runs_by_the_command_in_its_docstring(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("user_id,placed_at,cents\n")
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "backfill.py", path],
        env={"INTERCOM_ACCESS_TOKEN": TOKEN, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "0 sent, 0 failed\n"), ran.stderr
