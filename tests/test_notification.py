"""What Intercom sent: the envelope, its item, and what is refused."""

from __future__ import annotations

import dataclasses
import enum
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlette_intercom import InvalidNotification, Notification, StoredNotification, VerifiedBody, VerifiedNotification
from starlette_intercom.known_topics import KNOWN_TOPICS
from starlette_intercom.notification import dedupe_key_of
from starlette_intercom.testing import sample


def encoded(**changes: object) -> bytes:
    return msgspec.json.encode(sample("conversation.user.created") | changes)


def read(raw: bytes) -> StoredNotification[Any]:
    return StoredNotification.read(raw)


def verified(raw: bytes) -> VerifiedNotification:
    return VerifiedNotification(VerifiedBody(raw, "old secret"))


@pytest.mark.parametrize("topic", KNOWN_TOPICS)
def test_every_known_topic_is_read(topic: str) -> None:
    content = sample(topic, created_at=1_760_000_000)
    raw = msgspec.json.encode(content)
    for notification in (verified(raw), read(raw), StoredNotification.of(verified(raw))):
        assert notification.raw == raw
        assert (notification.topic, notification.id, notification.app_id) == (topic, content["id"], content["app_id"])
        assert notification.created_at == 1_760_000_000
        assert notification.created == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
        assert notification.delivery_status == content["delivery_status"]
        assert notification.delivery_attempts == content["delivery_attempts"]
        assert notification.delivered_at == content["delivered_at"]
        assert notification.first_sent_at == content["first_sent_at"]
        assert notification.item == content["data"]["item"]


def test_the_name_of_the_secret_is_known() -> None:
    assert verified(encoded()).secret_name == "old secret"


def test_what_documentation_leaves_out_may_be_missing_and_more_may_come() -> None:
    notification = read(
        b'{"type":"notification_event","app_id":"w","topic":"t.new","created_at":0,"data":{"item":7,"x":1},"new":[{}]}'
    )
    assert (notification.id, notification.delivery_attempts, notification.first_sent_at) == (None, None, None)
    assert notification.item == 7
    assert notification.created == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        (b"", "", "the body is not valid JSON"),
        (b"\xff\xfe", "", "the body is not valid JSON"),
        (b"{", "", "the body is not valid JSON"),
        (b"[]", "", "Expected `object`, got `array`"),
        (b"null", "", "Expected `object`, got `null`"),
        (b"[" * 100_000, "", "Expected `object`, got `array`"),
        (b'{"x":' * 100_000, "", "the body is not valid JSON"),
        (b"{}", "type", "type: Object missing required field `type`"),
        (encoded(type="ping"), "type", "type: Expected `notification_event`"),
        (encoded(type=5), "type", "type: Expected `str`, got `int`"),
        (encoded(topic=None), "topic", "topic: Expected `str`, got `null`"),
        (encoded(topic=""), "topic", "topic: Expected `str` of length >= 1"),
        (encoded(topic="x" * 256), "topic", "topic: Expected `str` of length <= 255"),
        (encoded(app_id=5), "app_id", "app_id: Expected `str`, got `int`"),
        (encoded(id=5), "id", "id: Expected `str | null`, got `int`"),
        (encoded(created_at="now"), "created_at", "created_at: Expected `int`, got `str`"),
        (encoded(created_at=-1), "created_at", "created_at: Expected `int` >= 0"),
        (encoded(created_at=10**12), "created_at", "created_at: Expected `int` <= 253402300799"),
        (encoded(created_at=1.5), "created_at", "created_at: Expected `int`, got `float`"),
        (encoded(data={}), "data.item", "data.item: Object missing required field `item`"),
        (encoded(data=[]), "data", "data: Expected `object`, got `array`"),
    ],
    ids=range(21),
)
def test_what_is_no_notification_is_refused_by_field(raw: bytes, field: str, message: str) -> None:
    for kind in (read, verified):
        with pytest.raises(InvalidNotification) as caught:
            kind(raw)
        assert caught.value.field == field
        assert str(caught.value) == f"Not a notification: {message}"
        assert caught.value.__cause__ is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=10,
)
keys = st.sampled_from(["type", "app_id", "topic", "data", "created_at", "id", "delivered_at", "links"])


@given(st.dictionaries(keys, json_values), st.sets(keys))
def test_any_envelope_is_read_or_refused(changes: dict[str, object], missing: set[str]) -> None:
    content = {key: value for key, value in (sample("ping") | changes).items() if key not in missing}
    try:
        notification = read(msgspec.json.encode(content))
    except InvalidNotification:
        return
    assert notification.item == msgspec.json.decode(msgspec.json.encode(content))["data"]["item"]


@given(st.binary())
def test_any_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidNotification):
        read(raw)


@pytest.mark.parametrize("item", [b'"\xff"', b'"\\ud800"'])
def test_an_item_that_is_broken_inside_is_refused_when_looked_at(item: bytes) -> None:
    raw = encoded(data={"item": "here"}).replace(b'"here"', item)
    try:
        notification = read(raw)
    except InvalidNotification:
        return
    with pytest.raises(InvalidNotification, match=r"^data\.item: not valid JSON$") as caught:
        _ = notification.item
    assert caught.value.field == "data.item"


def test_the_item_is_decoded_once_and_not_before_it_is_used() -> None:
    notification = read(encoded())
    assert notification.fresh() is notification
    assert notification.item is notification.item
    fresh = notification.fresh()
    notification.item["state"] = "changed"
    assert fresh.item["state"] == "open"


def test_it_cannot_be_changed() -> None:
    notification = verified(encoded())
    for name in ("raw", "topic", "item", "secret_name", "new"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(notification, name, "x")
        with pytest.raises(AttributeError, match="cannot be changed"):
            delattr(notification, name)


def test_the_two_kinds_are_told_apart() -> None:
    raw = encoded()
    assert read(raw) == StoredNotification.of(verified(raw))
    assert len({read(raw), read(raw), verified(raw)}) == 2
    assert read(raw) != verified(raw)
    assert read(raw) != raw
    assert not isinstance(read(raw), VerifiedNotification)
    with pytest.raises(AttributeError):
        VerifiedNotification(raw)  # type: ignore[arg-type]


def test_its_repr_shows_no_payload() -> None:
    raw = encoded(id="notif_1", data={"item": {"email": "someone@example.com"}})
    assert repr(read(raw)) == "<StoredNotification 'conversation.user.created' id='notif_1' app_id='k3v9q0ab'>"
    assert repr(VerifiedBody(raw, "s")) == f"<VerifiedBody of {len(raw)} bytes, signed with 's'>"


def test_what_tells_two_notifications_apart() -> None:
    assert dedupe_key_of(read(encoded(id="notif_1", app_id="w"))) == "w:notif_1"
    pings = [read(msgspec.json.encode(sample("ping", created_at=number))) for number in (1, 2)]
    assert len({dedupe_key_of(ping) for ping in pings}) == 2
    assert len({dedupe_key_of(pings[0]), dedupe_key_of(read(pings[0].raw))}) == 1


class Kind(enum.Enum):
    USER = "user"


class Struct(msgspec.Struct):
    id: str
    kind: Kind
    tags: dict[str, list[int]] = {}
    role: Literal["lead"] | None = None


class Typed(TypedDict):
    id: str


@dataclasses.dataclass
class Data:
    id: str


class Model(pydantic.BaseModel):
    id: str
    tags: list[int] = []


class Cat(pydantic.BaseModel):
    type: Literal["cat"]


class Dog(pydantic.BaseModel):
    type: Literal["dog"]


class Pet(pydantic.BaseModel):
    pet: Cat | Dog = pydantic.Field(discriminator="type")


class Picky(pydantic.BaseModel):
    @pydantic.model_validator(mode="before")
    @classmethod
    def refuse(cls, value: object) -> object:
        raise pydantic.ValidationError.from_exception_data("nothing", [])


class A(msgspec.Struct, tag="a"): ...


class B(msgspec.Struct, tag="b"): ...


def with_item(item: object) -> Notification[Any]:
    return read(encoded(data={"item": item}))


def test_items_of_a_users_types() -> None:
    notification = with_item({"id": "5", "kind": "user", "more": 1})
    assert notification.item_as(Struct) == Struct("5", Kind.USER)
    assert notification.item_as(Data) == Data("5")
    assert notification.item_as(Typed) == {"id": "5"}
    assert notification.item_as(Model) == Model(id="5")
    assert notification.item_as(dict) == notification.item
    typed: StoredNotification[Data] = notification.with_item(Data("5"))
    assert (typed.item, typed.raw) == (Data("5"), notification.raw)


@pytest.mark.parametrize(
    ("kind", "item", "field", "message"),
    [
        (Struct, [], "data.item", "Expected `object`, got `array`"),
        (Struct, {"id": 5}, "data.item.id", "Expected `str`, got `int`"),
        (Struct, {"id": "5"}, "data.item", "Object missing required field `kind`"),
        (Struct, {"id": "5", "kind": "s3cret"}, "data.item.kind", "Invalid enum value"),
        (Struct, {"id": "5", "kind": "user", "role": "s3cret"}, "data.item.role", "Invalid enum value"),
        (Struct, {"id": "5", "kind": "user", "tags": {"s3cret": [1, "s3cret"]}}, "data.item.tags[...][1]", "Expected"),
        (dict[int, dict[int, int]], {"1": {"s3cret": 1}}, "data.item[...]", "Expected `int`, got `str`"),
        (A | B, {"type": "s3cret"}, "data.item.type", "Invalid value"),
        (Model, {"id": ["s3cret"]}, "data.item.id", "Input should be a valid string"),
        (Model, {"id": "5", "tags": [1, "s3cret"]}, "data.item.tags.1", "Input should be a valid integer"),
        (Pet, {"pet": {"type": "s3cret"}}, "data.item.pet", "Input tag is none of those expected"),
        (Picky, {}, "data.item", "does not fit"),
    ],
)
def test_an_item_that_does_not_fit_is_refused_by_field_and_never_shown(
    kind: type[object], item: object, field: str, message: str
) -> None:
    with pytest.raises(InvalidNotification) as caught:
        with_item(item).item_as(kind)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: {message}")
    assert "s3cret" not in str(caught.value)
