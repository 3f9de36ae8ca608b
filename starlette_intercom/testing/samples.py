"""Notifications to test with: of any known topic, in the shape in which Intercom sends them."""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec

from ..errors import ConfigurationError
from ..known_topics import TopicName
from ..topics import suggest
from .items import ITEMS, WORKSPACE


def sample(topic: TopicName | str, /, **overrides: object) -> dict[str, Any]:
    """Return a notification of a topic, as Intercom would send it; sign it with :func:`signed`.

    Each call returns a new one with an id of its own, so that two are never duplicates of each other. What it is about
    stays the same: all samples of conversations are of one conversation, all of users about one user.

    ::

        sample("contact.user.created")
        sample("conversation.user.created", **{"item.state": "snoozed", "item.source.author.name": "Ada"})
        sample("conversation.user.replied", **{"item.conversation_parts.conversation_parts.0.body": "<p>Hi</p>"})
        sample("contact.user.created", id="notif_1", app_id="other", created_at=1_700_000_000)
        sample("topic.of.the.future", item={"type": "surprise"})

    Args:
        topic: a known topic, or any other together with ``item``.
        **overrides: values to put in place of others, by key or by path with dots. Keys are those of the envelope, and
            ``item``, short for ``data.item``; in a path a number is an index into a list. A key that is not there is
            made. ``created_at`` (Unix seconds, now by default) moves the times inside the item, too.

    Returns:
        A new dict of plain JSON values, yours to change further.

    Raises:
        ConfigurationError: the topic is unknown and no ``item`` is given, or a path leads nowhere.
    """
    if topic not in ITEMS and "item" not in overrides:
        meant = suggest(topic)
        raise ConfigurationError(
            f"There is no sample of the topic {topic!r}: give its item=…"
            + (f", or did you mean {meant!r}?" if meant else ".")
        )
    created_at = overrides.get("created_at")
    now = created_at if isinstance(created_at, int) else int(time.time())
    item = overrides["item"] if "item" in overrides else ITEMS[topic](now)
    ping = topic == "ping"
    notification: dict[str, Any] = {
        "type": "notification_event",
        "app_id": WORKSPACE,
        # Through JSON and back, so that nothing is shared with another sample, within this one, or with the caller.
        "data": {"type": "notification_event_data", "item": msgspec.json.decode(msgspec.json.encode(item))},
        "links": {},
        "id": None if ping else f"notif_{uuid.uuid4()}",
        "topic": topic,
        "delivery_status": None if ping else "pending",
        "delivery_attempts": 1,
        "delivered_at": 0,
        "first_sent_at": now,
        "created_at": now,
        "self": None,
    }
    for path, value in overrides.items():
        keys = path.split(".")
        if keys[0] == "item":
            keys.insert(0, "data")
        if path != "item":
            _put(notification, keys, value, path)
    return notification


def _put(target: Any, keys: list[str], value: object, path: str) -> None:
    """Put a value where the keys lead, making objects on the way where there is nothing or null."""
    *way, last = keys
    for key in way:
        place: Any = _place(target, key, path)
        found = target[place] if isinstance(target, list) else target.get(place)
        if found is None:
            found = target[place] = {}
        target = found
    target[_place(target, last, path)] = value


def _place(target: object, key: str, path: str) -> str | int:
    if isinstance(target, dict):
        return key
    if not isinstance(target, list):
        raise ConfigurationError(
            f"The path {path!r} leads nowhere: what stands before {key!r} is neither an object nor a list."
        )
    if not key.isdecimal() or int(key) >= len(target):
        raise ConfigurationError(f"The path {path!r} leads nowhere: the list has no element {key!r}.")
    return int(key)
