"""What `redact` takes away is written down nowhere: in no inbox, file, dead letter or log."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette

from starlette_intercom import Intercom, MemoryInbox, Notification, Reject
from starlette_intercom.inbox.redis import RedisInbox
from starlette_intercom.inbox.sqlite import SQLiteInbox
from tests.asgi import deliver, until
from tests.factories import SECRET, TOPIC, envelope
from tests.redis_process import RedisProcess

pytestmark = pytest.mark.anyio

EMAIL = "s0meone@example.com"


async def assert_redacted(inbox: MemoryInbox | SQLiteInbox | RedisInbox) -> str:
    """Have a delivery handled, one die and one wait in the inbox; return all that can be seen of them."""
    seen: list[object] = []

    def redact(notification: Notification) -> object:
        return {**notification.item, "email": "(redacted)"}

    intercom = Intercom(SECRET, inbox=inbox, redact=redact, drain_timeout=0)

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        seen.append(notification.item["id"])
        if notification.item["id"] == "dies":
            raise Reject(str(notification.item))
        if notification.item["id"] == "waits":
            await anyio.sleep_forever()

    async with intercom.lifespan(Starlette()):
        for name in ("done", "dies", "waits"):
            for expected in ({"received": True}, {"received": True, "duplicate": True}):
                item = {"id": name, "email": EMAIL}
                assert (await deliver(intercom.webhooks, envelope(id=name, item=item))).json == expected
        await until(lambda: len(seen) == 3)
        (letter,) = await intercom.dead_letters.list()
        assert letter.notification.item == {"id": "dies", "email": "(redacted)"}
    return repr(letter) + letter.notification.raw.decode()


def contents(directory: Path) -> bytes:
    """Every byte of every file in a directory."""
    return b"\n".join(file.read_bytes() for file in directory.rglob("*") if file.is_file())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "starlette_intercom")
    return caplog


async def test_in_memory(log: pytest.LogCaptureFixture) -> None:
    inbox = MemoryInbox()
    seen = await assert_redacted(inbox)
    kept = [record.notification for record in inbox._records.values()]
    assert len(kept) == 2
    for private in (seen, log.text, *(notification.raw.decode() for notification in kept)):
        assert EMAIL not in private


async def test_in_the_files_of_sqlite(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "inbox.db"
    # Another connection keeps the log from being taken into the file and removed when the inbox is closed.
    observer = SQLiteInbox(path)
    await observer.open()
    seen = await assert_redacted(SQLiteInbox(path))
    with_log = contents(tmp_path)
    await observer.close()
    assert b"(redacted)" in with_log
    for content in (seen.encode(), log.text.encode(), with_log, contents(tmp_path)):
        assert EMAIL.encode() not in content


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # redis-py knows no other
async def test_in_redis(redis_process: RedisProcess, log: pytest.LogCaptureFixture) -> None:
    seen = await assert_redacted(RedisInbox(redis_process.url))
    stored = contents(redis_process.directory)
    assert b"(redacted)" in stored
    for content in (seen.encode(), log.text.encode(), stored):
        assert EMAIL.encode() not in content
