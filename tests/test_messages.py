"""What the log says stays one line each, whatever ids, topics and errors hold."""

from __future__ import annotations

import logging

import anyio
import pytest
from starlette.applications import Starlette

from starlette_intercom import InboxUnavailable, Intercom, Notification, Reject, messages
from tests.asgi import deliver, until
from tests.factories import SECRET, TOPIC, envelope

HOSTILE = "a\r\nERROR forged\x1b[31m\x00\x85\u2028b"
ERROR = InboxUnavailable(HOSTILE)

LINES = [
    messages.turned_away(HOSTILE, 1),
    messages.unknown_topic(HOSTILE, HOSTILE),
    messages.hook_failed(HOSTILE),
    messages.observer_failed(HOSTILE, HOSTILE),
    messages.redis_evicts(HOSTILE),
    messages.attempt_failed(HOSTILE, HOSTILE, HOSTILE, 1, messages.one_line(HOSTILE)),
    messages.no_handler_here(HOSTILE, HOSTILE),
    messages.retrying(HOSTILE, HOSTILE, 1.0),
    messages.buried(HOSTILE, HOSTILE, (HOSTILE, HOSTILE), messages.one_line(HOSTILE)),
    messages.lease_lost(HOSTILE, HOSTILE),
    messages.unreported(HOSTILE, HOSTILE, ERROR),
    messages.overdue(HOSTILE, 1),
    messages.abandoned(HOSTILE),
    messages.inbox_unreachable(ERROR),
    messages.broker_unreachable(ERROR),
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_stays_one_line(line: str) -> None:
    assert line.splitlines() == [line]
    assert line.isprintable()


@pytest.mark.anyio
async def test_a_hostile_key_forges_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "starlette_intercom")
    intercom = Intercom(SECRET, dedupe_key=lambda notification: f"{HOSTILE}{notification.id}")
    failed: list[str | None] = []

    @intercom.on(TOPIC, name=HOSTILE)
    async def fails(notification: Notification) -> None:
        failed.append(notification.id)
        raise Reject(HOSTILE) if notification.id == "rejected" else ValueError(HOSTILE)

    async with intercom.lifespan(Starlette()):
        for name in ("rejected", "retried"):
            assert (await deliver(intercom.webhooks, envelope(id=name))).status == 200
        await until(lambda: len(failed) == 2)
        with anyio.fail_after(5):
            while not (letters := await intercom.dead_letters.list()):
                await anyio.sleep(0.001)
    lines = [record.getMessage() for record in caplog.records if record.name == "starlette_intercom"]
    for what in ("failed in attempt", "will be tried again", "Dead letter"):
        assert any(what in line for line in lines)
    for line in lines:
        assert line.splitlines() == [line]
        assert line.isprintable()
    ids = {getattr(record, "delivery_id", None) for record in caplog.records} - {None}
    assert ids == {f"{HOSTILE}rejected", f"{HOSTILE}retried"}  # fields are for machines, and are not changed
    assert letters[0].id == f"{HOSTILE}rejected"
