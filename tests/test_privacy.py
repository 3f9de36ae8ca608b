"""No secret, signature or payload in what people read: logs, reprs, errors, and the frames of tracebacks."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from starlette_intercom import Intercom, MemoryInbox, Notification, Reject, Step
from starlette_intercom.testing import sample, signed
from tests.handling.faulty import FaultyInbox
from tests.handling.kit import TOPIC, until

pytestmark = pytest.mark.anyio

SECRET = "s3cret-of-the-app"
TOKEN = "t0ken-of-the-app"
PAYLOAD = "s0meone@example.com"


def frames_of_ours(error: BaseException | None) -> Iterator[dict[str, object]]:
    """The local variables of the library's frames in a traceback, as rich tracebacks print them."""
    while error is not None:
        trace: TracebackType | None = error.__traceback__
        while trace is not None:
            if "/starlette_intercom/" in trace.tb_frame.f_code.co_filename:
                yield trace.tb_frame.f_locals
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


class Watch(logging.Handler):
    """Keeps everything that a log could show, also with the locals of every frame."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage() + repr(record.__dict__)
        if record.exc_info:
            error = record.exc_info[1]
            assert error is not None
            self.text += "".join(traceback.format_exception(error))
            for names in frames_of_ours(error):
                self.text += repr(names)


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    logger = logging.getLogger("starlette_intercom")
    level = logger.level
    logger.addHandler(watch)
    logger.setLevel(logging.DEBUG)
    yield watch
    logger.removeHandler(watch)
    logger.setLevel(level)


async def post(intercom: Intercom, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(intercom.webhooks), base_url="http://test") as client:
        return await client.post("/", content=body, headers=headers)


async def test_nothing_private_is_ever_logged_or_answered(watch: Watch) -> None:
    inbox = FaultyInbox(MemoryInbox())

    def failing_key(notification: Notification) -> str:
        raise ValueError("a reason")

    class Keeping:
        def observe(self, step: Step, /) -> None:
            told.append(step)

    told: list[Step] = []
    intercom = Intercom(
        SECRET,
        access_token=TOKEN,
        inbox=inbox,
        dedupe_key=failing_key,
        serialize_by=failing_key,
        observers=[Keeping()],
    )

    class Contact(msgspec.Struct):
        age: int

    @intercom.on(TOPIC)
    async def fails(notification: Notification) -> None:
        assert PAYLOAD in str(notification.item)
        raise Reject("a reason")

    @intercom.on("contact.created", item=Contact)
    async def typed(notification: Notification[Contact]) -> None: ...

    @intercom.on_error
    @intercom.on_unhandled
    async def hook(notification: Notification) -> None:
        raise ValueError("a reason")

    signatures = []
    answers = ""
    inbox.will("accept", "bug")
    async with intercom.lifespan(Starlette()):
        for topic in (TOPIC, TOPIC, "contact.created", "unhandled.topic"):
            content: Any = sample(topic, item={"email": PAYLOAD, "age": PAYLOAD})
            request = signed(content, SECRET)
            signatures.append(request.headers["X-Hub-Signature"].removeprefix("sha1="))
            answers += (await post(intercom, request.body, request.headers)).text
            answers += (await post(intercom, request.body, {"X-Hub-Signature": f"sha1={'0' * 40}"})).text
            answers += (
                await post(intercom, request.body, {"X-Hub-Signature": request.headers["X-Hub-Signature"] + "0"})
            ).text
            broken = signed(request.body.replace(b"notification_event", PAYLOAD.encode()), SECRET)
            signatures.append(broken.headers["X-Hub-Signature"].removeprefix("sha1="))
            answers += (await post(intercom, broken.body, broken.headers)).text
        await until(lambda: inbox.calls.count("bury") == 2)
        letters = await intercom.dead_letters.list()
        shown = repr(letters) + repr(intercom) + str(vars(intercom)) + repr(await intercom.stats())
        shown += repr(told)
    assert len(letters) == 2
    assert watch.text
    assert told
    for private in (SECRET, TOKEN, PAYLOAD, *signatures):
        assert private not in watch.text
        assert private not in answers
        assert private not in shown


async def test_what_is_kept_of_a_failure_has_no_payload() -> None:
    inbox = MemoryInbox()
    intercom = Intercom(SECRET, inbox=inbox)

    @intercom.on(TOPIC, retries=0)
    async def fails(notification: Notification) -> None:
        item = notification.item
        assert item
        raise ValueError("a reason")

    async with intercom.lifespan(Starlette()):
        request = signed(sample(TOPIC, item={"email": PAYLOAD}), SECRET)
        await post(intercom, request.body, request.headers)
    (letter,) = await inbox.list_dead()  # drained, so it has been run
    assert "raise ValueError" in letter.failures[0].traceback
    assert PAYLOAD not in msgspec.json.encode(letter.failures).decode()
