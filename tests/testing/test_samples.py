"""Samples: one of each known topic, in the shape in which Intercom sends it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from starlette_intercom.errors import ConfigurationError
from starlette_intercom.known_topics import KNOWN_TOPICS
from starlette_intercom.notification import StoredNotification
from starlette_intercom.testing.samples import sample

AT = 1_772_616_600  # 2026-03-04T09:30:00Z

ENVELOPE_KEYS = [
    "type",
    "app_id",
    "data",
    "links",
    "id",
    "topic",
    "delivery_status",
    "delivery_attempts",
    "delivered_at",
    "first_sent_at",
    "created_at",
    "self",
]

every_topic = pytest.mark.parametrize("topic", KNOWN_TOPICS)


def parts_of(value: object) -> Iterator[object]:
    """Walk through all dicts and lists of a JSON value."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from parts_of(inner)


def item_of(topic: str, **overrides: object) -> dict[str, Any]:
    item: dict[str, Any] = sample(topic, **{"created_at": AT, **overrides})["data"]["item"]
    return item


@every_topic
def test_every_topic_has_a_sample_that_is_a_notification(topic: str) -> None:
    notification = StoredNotification[Any].read(json.dumps(sample(topic, created_at=AT)).encode())
    assert notification.topic == topic
    assert notification.created_at == notification.first_sent_at == AT
    assert notification.item == item_of(topic)


@every_topic
def test_every_item_is_of_the_type_that_the_table_says(topic: str) -> None:
    item = item_of(topic)
    assert item
    assert item.get("type", "") == KNOWN_TOPICS[topic].item


@every_topic
def test_every_sample_has_the_envelope_of_a_delivery(topic: str) -> None:
    notification = sample(topic, created_at=AT)
    assert list(notification) == ENVELOPE_KEYS
    assert list(notification["data"]) == ["type", "item"]
    assert notification["type"] == "notification_event"
    assert notification["data"]["type"] == "notification_event_data"
    assert (notification["links"], notification["delivery_attempts"], notification["delivered_at"]) == ({}, 1, 0)
    assert notification["self"] is None


@every_topic
def test_samples_share_nothing(topic: str) -> None:
    one, other = sample(topic, created_at=AT), sample(topic, created_at=AT)
    parts = [id(part) for notification in (one, other) for part in parts_of(notification)]
    assert len(parts) == len(set(parts))


def test_every_sample_has_an_id_of_its_own() -> None:
    ids = {sample("contact.user.created")["id"] for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(r"notif_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name) for name in ids)


def test_a_ping_has_no_id() -> None:
    ping = sample("ping")
    assert (ping["id"], ping["delivery_status"], ping["self"]) == (None, None, None)
    assert list(item_of("ping")) == ["type", "message"]


def test_created_at_is_now_by_default() -> None:
    before = int(time.time())
    notification = sample("contact.user.created")
    assert before <= notification["created_at"] <= time.time()
    assert notification["first_sent_at"] == notification["created_at"]


def test_contacts_and_companies_have_times_as_text() -> None:
    for topic in ("contact.user.created", "contact.lead.created", "company.created", "visitor.signed_up"):
        assert item_of(topic)["created_at"] == "2026-03-04T09:30:00.000+00:00"


def test_conversations_and_tickets_have_unix_seconds() -> None:
    for topic in ("conversation.user.created", "conversation.admin.closed", "ticket.created", "ticket.resolved"):
        assert item_of(topic)["updated_at"] == AT


def test_content_stats_and_articles_have_times_that_end_in_z() -> None:
    assert item_of("content_stat.email")["created_at"] == "2026-03-04T09:30:00.000Z"
    assert item_of("article.created")["created_at"] == "2026-03-04T09:30:00.000Z"


def test_some_ids_are_integers() -> None:
    assert isinstance(item_of("admin.away_mode_updated")["id"], int)
    assert isinstance(item_of("content_import_source.deleted")["id"], int)
    assert isinstance(item_of("ticket.contact.attached")["ticket"]["id"], int)
    assert isinstance(item_of("conversation.contact.attached")["conversation"]["model"]["id"], int)
    for topic in ("contact.user.created", "conversation.user.created", "ticket.created", "company.created"):
        assert isinstance(item_of(topic)["id"], str)


@pytest.mark.parametrize(
    ("topic", "keys"),
    [
        ("company.deleted", ["id", "type", "deleted"]),
        ("contact.deleted", ["id", "external_id", "type", "deleted"]),
        ("conversation.deleted", ["type", "conversation_id"]),
        ("audience.deleted", ["type", "id", "deleted"]),
        ("content_import_source.deleted", ["type", "id", "deleted"]),
        ("content_snippet.deleted", ["type", "id", "deleted"]),
        ("user.deleted", ["type", "id", "user_id", "email"]),
        ("company.contact.attached", ["company", "contact"]),
        ("company.contact.detached", ["company", "contact"]),
        ("conversation.contact.attached", ["conversation", "contact"]),
        ("conversation.contact.detached", ["conversation", "contact"]),
        ("ticket.contact.attached", ["ticket", "contact"]),
        ("ticket.contact.detached", ["ticket", "contact"]),
        ("ticket.closed", ["ticket"]),
        ("ticket.note.created", ["type", "ticket", "ticket_part"]),
        ("contact.user.tag.created", ["type", "tag", "contact"]),
        ("contact.tag.created", ["type", "created_at", "tag", "contact"]),
        ("user.tag.created", ["type", "user", "tag", "created_at", "admin"]),
        ("contact.subscribed", ["type", "contact", "subscription_types", "created_at"]),
        ("content_stat.tour", ["type", "created_at", "content_stat", "contact"]),
    ],
)
def test_items_of_an_unusual_shape(topic: str, keys: list[str]) -> None:
    assert list(item_of(topic)) == keys


def test_a_deleted_article_is_whole() -> None:
    assert item_of("article.deleted")["title"] == "Paying by invoice"


def test_a_merged_contact_names_the_one_that_went() -> None:
    assert item_of("contact.merged")["merged_from"]["type"] == "contact"
    assert "merged_from" not in item_of("contact.user.created")


def test_what_happened_shows_in_the_item() -> None:
    assert item_of("conversation.admin.closed")["state"] == "closed"
    assert item_of("conversation.admin.snoozed")["snoozed_until"] > AT
    assert item_of("conversation.priority.updated")["priority"] == "priority"
    assert item_of("conversation.rating.added")["conversation_rating"]["rating"] == 5
    assert item_of("conversation_part.tag.created")["tags_added"]["tags"]
    assert item_of("conversation.user.created")["conversation_parts"]["total_count"] == 0
    replied = item_of("conversation.user.replied")["conversation_parts"]["conversation_parts"]
    assert [(part["part_type"], part["author"]["type"]) for part in replied] == [("comment", "user")]
    note = item_of("ticket.note.created")
    assert note["ticket"]["ticket_parts"]["ticket_parts"][-1] == note["ticket_part"]
    assert item_of("ticket.resolved")["ticket_state"]["category"] == "resolved"
    assert item_of("contact.unsubscribed")["contact"]["unsubscribed_from_emails"] is True
    assert item_of("content_stat.survey")["content_stat"]["answers"]


def test_override_the_envelope() -> None:
    notification = sample("ping", id="notif_1", app_id="other", created_at=AT, delivery_attempts=2)
    assert (notification["id"], notification["app_id"], notification["created_at"]) == ("notif_1", "other", AT)
    assert notification["delivery_attempts"] == 2
    assert list(notification) == ENVELOPE_KEYS


def test_override_inside_the_item() -> None:
    item = item_of(
        "conversation.user.replied",
        **{
            "item.state": "snoozed",
            "item.source.author.name": "Ada",
            "item.conversation_parts.conversation_parts.0.body": "<p>Hi</p>",
        },
    )
    assert item["state"] == "snoozed"
    assert item["source"]["author"]["name"] == "Ada"
    assert item["source"]["author"]["email"] == "noor@example.com"
    assert item["conversation_parts"]["conversation_parts"][0]["body"] == "<p>Hi</p>"


def test_an_override_makes_what_is_not_there() -> None:
    item = item_of(
        "contact.user.created", **{"item.custom_attributes.size": "XL", "item.avatar.image_url": "x", "item.a.b": 1}
    )
    assert item["custom_attributes"] == {"plan": "team", "seats": 12, "size": "XL"}
    assert item["avatar"] == {"image_url": "x"}
    assert item["a"] == {"b": 1}
    assert sample("ping", **{"region.name": "eu"})["region"] == {"name": "eu"}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("item.state.name", "neither an object nor a list"),
        ("item.conversation_parts.conversation_parts.7.body", "no element '7'"),
        ("item.conversation_parts.conversation_parts.first", "no element 'first'"),
        ("item.conversation_parts.conversation_parts.-1", "no element '-1'"),
        ("id.x", "neither an object nor a list"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(path: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        sample("conversation.user.replied", **{path: "x"})


def test_an_unknown_topic_needs_an_item() -> None:
    notification = sample("topic.of.the.future", item={"type": "surprise", "n": [1]}, **{"item.n.0": 2})
    assert notification["topic"] == "topic.of.the.future"
    assert notification["data"]["item"] == {"type": "surprise", "n": [2]}
    with pytest.raises(ConfigurationError, match="give its item"):
        sample("topic.of.the.future")
    with pytest.raises(ConfigurationError, match=r"did you mean 'contact\.user\.created'"):
        sample("contact.user.create")


def test_an_override_may_break_the_notification() -> None:
    notification = sample("contact.user.created", item=None, created_at="yesterday", topic="", **{"data.type": 1})
    assert notification["data"] == {"type": 1, "item": None}
    assert (notification["created_at"], notification["topic"]) == ("yesterday", "")


def test_an_item_of_ones_own_is_not_changed() -> None:
    own = {"type": "contact", "tags": [{"id": "1"}]}
    notification = sample("contact.user.created", item=own, **{"item.tags.0.id": "2"})
    assert notification["data"]["item"] == {"type": "contact", "tags": [{"id": "2"}]}
    assert own == {"type": "contact", "tags": [{"id": "1"}]}
