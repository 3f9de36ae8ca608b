"""`redact`: what is stored in place of the item, and what happens where that does not work."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest
from fastapi import FastAPI
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from starlette_intercom import (
    ConfigurationError,
    Intercom,
    IntercomMiddleware,
    Notification,
    VerifiedBody,
    VerifiedNotification,
)
from starlette_intercom.receiving.redaction import NotRedacted, redacted
from starlette_intercom.testing import IntercomKit
from tests.asgi import deliver, until
from tests.factories import SECRET, TOPIC, envelope

EMAIL = "s0meone@example.com"
ITEM = {"id": "5", "email": EMAIL, "tags": [{"name": "vip"}]}


def without_email(notification: Notification) -> object:
    item = notification.item
    item.pop("email", None)
    return item


# --- The splice


SPACE = st.text(" \t\r\n", max_size=2)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
REQUIRED = {"type": "notification_event", "app_id": "w", "topic": TOPIC, "created_at": 1, "id": "n"}


@st.composite
def objects(draw: st.DrawFn, members: list[tuple[str, str]]) -> str:
    """JSON of an object with these members and others, in any order, with any space, some keys written in escapes."""
    others = draw(
        st.dictionaries(st.text().filter(lambda key: key not in {*REQUIRED, "data", "item"}), VALUES, max_size=3)
    )
    every = [*members, *((key, json.dumps(value)) for key, value in others.items())]
    text = []
    for key, value in draw(st.permutations(every)):
        escaped = draw(st.booleans()) and all(ord(char) < 0x10000 for char in key)
        name = '"' + "".join(f"\\u{ord(char):04x}" for char in key) + '"' if escaped else json.dumps(key)
        text.append(f"{draw(SPACE)}{name}{draw(SPACE)}:{draw(SPACE)}{value}{draw(SPACE)}")
    return "{" + (",".join(text) or draw(SPACE)) + "}"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bodies of notifications, of which some name `data`, `item` and others twice."""
    datas = []
    for _ in range(draw(st.integers(1, 2))):
        items = [("item", json.dumps(draw(VALUES))) for _ in range(draw(st.integers(1, 2)))]
        datas.append(("data", draw(objects(items))))
    twice = draw(st.sampled_from([[], [("id", '"earlier"')]]))
    members = [*twice, *((key, json.dumps(value)) for key, value in REQUIRED.items())]
    return f"{draw(SPACE)}{draw(objects([*datas, *members]))}{draw(SPACE)}".encode()


def verified(body: bytes) -> VerifiedNotification:
    return VerifiedNotification(VerifiedBody(body, "1"))


@settings(max_examples=300, deadline=None)
@given(bodies(), VALUES.filter(lambda value: value is not None))
@example(envelope(item="item"), "data")
def test_the_item_is_replaced_and_every_other_value_stays(body: bytes, new: object) -> None:
    came = json.loads(body)  # of a key that comes twice, Python's decoder keeps the last, too
    stored = redacted(verified(body), lambda notification: new)
    came["data"]["item"] = new
    assert json.loads(stored.raw) == came
    assert stored.secret_name == "1"
    assert stored.item == new
    for name in ("id", "topic", "app_id", "created_at"):
        assert getattr(stored, name) == getattr(verified(body), name)


def test_values_stay_byte_for_byte_as_they_came() -> None:
    odd = b'{"n": 1.000e2, "big": 123456789012345678901234567890, "text": "\\u0041\\/", "list": [ 1 ,2 ]}'
    body = envelope(more=None).replace(b'"more": null', b'"more": ' + odd)
    assert odd in redacted(verified(body), without_email).raw


@pytest.mark.parametrize("place", ["data", "item"])
def test_the_value_of_a_key_that_came_twice_is_not_kept(place: str) -> None:
    hidden = json.dumps({"item": {"email": EMAIL}}) if place == "data" else json.dumps({"email": EMAIL})
    body = envelope(item=ITEM).replace(f'"{place}": {{'.encode(), f'"{place}": {hidden}, "{place}": {{'.encode(), 1)
    assert body.count(EMAIL.encode()) == 2
    stored = redacted(verified(body), without_email)
    assert EMAIL.encode() not in stored.raw
    assert stored.item == {"id": "5", "tags": [{"name": "vip"}]}


def test_anything_that_msgspec_encodes() -> None:
    class Kept(msgspec.Struct):
        id: str

    stored = redacted(verified(envelope(item=ITEM)), lambda notification: notification.item_as(Kept))
    assert stored.item == {"id": "5"}


def test_an_item_that_was_null_stays_null() -> None:
    body = envelope().replace(b'{"type": "conversation"}', b"null")
    assert redacted(verified(body), lambda notification: notification.item).item is None


# --- What fails


def raises(notification: Notification) -> object:
    raise ValueError(f"no address in {notification.item['email']}")


def returns_nothing(notification: Notification) -> object:
    notification.item.pop("email")
    return None


def returns_an_object(notification: Notification) -> object:
    return {"email": notification.item["email"], "more": object()}


def returns_half_a_character(notification: Notification) -> object:
    return notification.item["email"] + "\ud800"


def returns_no_end(notification: Notification) -> object:
    endless: list[object] = [notification.item]
    endless.append(endless)
    return endless


def returns_half_of_some_json(notification: Notification) -> object:
    return msgspec.Raw(b'{"email": "')


BROKEN: list[tuple[Callable[[Notification], object], str]] = [
    (raises, "redact raised ValueError"),
    (returns_nothing, "redact returned None"),
    (returns_an_object, "redact returned a dict that cannot be stored as JSON (TypeError)"),
    (returns_half_a_character, "redact returned a str that cannot be stored as JSON (UnicodeEncodeError)"),
    (returns_no_end, "redact returned a list that cannot be stored as JSON (RecursionError)"),
    (returns_half_of_some_json, "redact returned a Raw that cannot be stored as JSON (InvalidNotification)"),
]


@pytest.mark.parametrize(("redact", "reason"), BROKEN, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.anyio
async def test_where_it_fails_nothing_is_stored_and_intercom_tries_again(
    redact: Callable[[Notification], object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing, handled = [True], []
    intercom = Intercom(SECRET, redact=lambda came: redact(came) if failing else without_email(came))

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        handled.append(notification.item)

    async with intercom.lifespan(Starlette()):
        for _ in range(3):
            answer = await deliver(intercom.webhooks, envelope(item=ITEM))
            assert (answer.status, answer.json) == (503, {"error": "Try again later"})
        assert await intercom.stats() == await Intercom(SECRET).stats()
        lines = [record for record in caplog.records if "redact" in record.getMessage()]
        failing.clear()
        answer = await deliver(intercom.webhooks, envelope(item=ITEM))
        assert answer.json == {"received": True}  # it was not marked as seen
        await until(lambda: handled)
    assert handled == [{"id": "5", "tags": [{"name": "vip"}]}]
    assert len(lines) == 1
    assert lines[0].levelno == logging.WARNING
    assert reason in lines[0].getMessage()
    assert lines[0].exc_info is None  # its text could quote the payload
    assert EMAIL not in caplog.text


def test_an_item_that_cannot_be_decoded_cannot_be_redacted() -> None:
    body = envelope(item="?").replace(b'"?"', b'"\xff"')
    with pytest.raises(NotRedacted, match="redact raised InvalidNotification"):
        redacted(verified(body), without_email)


async def asynchronous(notification: Notification) -> str:
    return "never awaited"


class Asynchronous:
    async def __call__(self, notification: Notification) -> str:
        return "never awaited"


@pytest.mark.parametrize("option", ["redact", "dedupe_key", "serialize_by"])
@pytest.mark.parametrize(
    "function",
    [asynchronous, partial(asynchronous), Asynchronous(), "a name"],
    ids=["async", "partial", "object", "text"],
)
def test_only_plain_functions_are_taken(option: str, function: Any) -> None:
    options = {option: function}
    with pytest.raises(ConfigurationError, match=f"{option} takes a plain function"):
        Intercom(SECRET, **options)


@pytest.mark.parametrize("option", ["redact", "dedupe_key", "serialize_by"])
def test_generators_are_refused(option: str) -> None:
    def generator(notification: Notification) -> Any:
        yield "never run"

    with pytest.raises(ConfigurationError, match="contains 'yield'"):
        Intercom(SECRET, **{option: generator})  # type: ignore[arg-type]


# --- Around it


@pytest.mark.anyio
async def test_key_and_group_are_those_of_what_came_and_nothing_else_is_called() -> None:
    asked: list[tuple[str, object]] = []

    def note(name: str, notification: Notification) -> str:
        asked.append((name, notification.item["email"]))
        return f"{name}-{notification.item['id']}"

    def redact(notification: Notification) -> object:
        asked.append(("redact", notification.item["email"]))
        return {}

    intercom = Intercom(
        SECRET, redact=redact, dedupe_key=partial(note, "dedupe_key"), serialize_by=partial(note, "serialize_by")
    )

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        assert notification.item == {}

    async with intercom.lifespan(Starlette()):
        await deliver(intercom.webhooks, envelope("contact.created", item=ITEM))
        assert (await deliver(intercom.webhooks, envelope(item=ITEM), secret="wrong")).status == 401
        assert asked == []
        await deliver(intercom.webhooks, envelope(item=ITEM))
        duplicate = await deliver(intercom.webhooks, envelope(item=ITEM, id="another"))
    assert duplicate.json == {"received": True, "duplicate": True}
    assert asked == [(name, EMAIL) for name in ("dedupe_key", "serialize_by", "redact")] * 2


@pytest.mark.anyio
async def test_without_an_id_the_key_is_the_digest_of_what_came() -> None:
    intercom = Intercom(SECRET, redact=lambda notification: {"all": "the same"})
    handled: list[object] = []

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        handled.append(notification.item)

    async with intercom.lifespan(Starlette()):
        for name in ("a", "b", "a"):
            await deliver(intercom.webhooks, envelope(id=None, item={"id": name}))
        await until(lambda: len(handled) == 2)
    assert handled == [{"all": "the same"}] * 2


@pytest.mark.anyio
async def test_from_the_environment_and_in_fastapi() -> None:
    intercom = Intercom.from_env({"INTERCOM_CLIENT_SECRET": SECRET}, redact=without_email)
    handled: list[object] = []

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        handled.append(notification.item)

    api = FastAPI()
    api.add_middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")
    async with intercom.lifespan(api):
        answer = await deliver(intercom.webhooks, envelope(item=ITEM))
        assert answer.json == {"received": True}
        await until(lambda: handled)
    assert EMAIL not in repr(handled)


@pytest.mark.anyio
async def test_in_the_test_kit() -> None:
    kit = IntercomKit(redact=without_email)

    @kit.intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        if notification.item["id"] == "6":
            raise ValueError("a reason")

    async with kit:
        with anyio.fail_after(10):
            for name in ("5", "6"):
                assert (await kit.deliver(TOPIC, id=name, item={**ITEM, "id": name})).received
            await kit.drain(raise_errors=False)
        letters = await kit.intercom.dead_letters.list()
        kept = [*kit.inbox.handled, *(letter.notification for letter in letters)]
    assert len(letters) == len(kit.inbox.handled) == 1
    for notification in kept:
        assert "email" not in notification.item
        assert EMAIL.encode() not in notification.raw
