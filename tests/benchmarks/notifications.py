"""Signed, unique notifications of a chosen size, and the file from which the load generator replays them."""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SECRET: Final = "a secret of the benchmarks"
PATH: Final = "/webhooks/intercom"
TOPIC: Final = "conversation.user.replied"

_ID: Final = "notif_00000000-0000-4000-8000-{:012x}"
_ID_LENGTH: Final = len(_ID.format(0))
_SENTENCE: Final = "The parcel was to come on Monday, and nobody at the door has seen it since. "


def body_of(size: int, number: int = 0) -> bytes:
    """Return the body of one notification about a conversation: the longer the body, the more replies it has.

    Args:
        size: bytes, about; at least 1,500.
        number: makes the id unique.
    """
    parts: list[object] = []
    while len(_encode(parts, number)) < size - 400:
        parts.append(_part(len(parts)))
    return _encode(parts, number)


def bodies(size: int, count: int) -> Iterator[bytes]:
    """Make that many unique bodies of the same size."""
    first = body_of(size)
    at = first.rindex(_ID.format(0).encode())
    for number in range(count):
        yield first[:at] + _ID.format(number).encode() + first[at + _ID_LENGTH :]


def write_requests(path: Path, *, size: int, count: int) -> None:
    """Write the file that ``load.c`` describes.

    Args:
        path: of the file.
        size: of each body, in bytes.
        count: how many notifications.
    """
    body = body_of(size)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nX-Hub-Signature: sha1="
    ).encode()
    digits = 40
    text = head + b"0" * digits + b"\r\n\r\n" + body
    id_in_body = body.rindex(_ID.format(0).encode())
    id_in_text = len(text) - len(body) + id_in_body
    # What stands before the id is the same in every body, and so is the state of the hash there.
    common = hmac.new(SECRET.encode(), body[:id_in_body], hashlib.sha1)
    rest = body[id_in_body + _ID_LENGTH :]
    with path.open("wb") as file:
        file.write(struct.pack("<6I", len(text), len(head), digits, id_in_text, _ID_LENGTH, count))
        file.write(text)
        for number in range(count):
            name = _ID.format(number).encode()
            mac = common.copy()
            mac.update(name + rest)
            file.write(mac.hexdigest().encode() + name)


def _encode(parts: list[object], number: int) -> bytes:
    """Encode an envelope with the keys that Intercom sends, in its order."""
    envelope = {
        "type": "notification_event",
        "app_id": "abc123de",
        "data": {"type": "notification_event_data", "item": _conversation(parts)},
        "links": {},
        "id": _ID.format(number),
        "topic": TOPIC,
        "delivery_status": "pending",
        "delivery_attempts": 1,
        "delivered_at": 0,
        "first_sent_at": 1_760_000_000,
        "created_at": 1_760_000_000,
        "self": None,
    }
    return json.dumps(envelope).encode()


def _conversation(parts: list[object]) -> dict[str, object]:
    return {
        "type": "conversation",
        "id": "215470000000001",
        "created_at": 1_759_990_000,
        "updated_at": 1_760_000_000,
        "waiting_since": 1_760_000_000,
        "snoozed_until": None,
        "source": {
            "type": "conversation",
            "id": "2154700001",
            "delivered_as": "customer_initiated",
            "subject": "",
            "body": f"<p>{_SENTENCE}</p>",
            "author": {"type": "user", "id": "65a1", "name": "Ida Example", "email": "ida@example.com"},
            "attachments": [],
            "url": "https://shop.example.com/orders/1001",
            "redacted": False,
        },
        "contacts": {"type": "contact.list", "contacts": [{"type": "contact", "id": "65a1", "external_id": "u-1"}]},
        "teammates": {"type": "admin.list", "admins": [{"type": "admin", "id": "77"}]},
        "admin_assignee_id": 77,
        "team_assignee_id": None,
        "open": True,
        "state": "open",
        "read": False,
        "tags": {"type": "tag.list", "tags": []},
        "priority": "not_priority",
        "statistics": {"type": "conversation_statistics", "time_to_assignment": 60, "count_reopens": 0},
        "conversation_parts": {
            "type": "conversation_part.list",
            "conversation_parts": parts,
            "total_count": len(parts),
        },
    }


def _part(number: int) -> dict[str, object]:
    return {
        "type": "conversation_part",
        "id": str(9_000_000 + number),
        "part_type": "comment",
        "body": f"<p>{_SENTENCE * (number % 3 + 1)}</p>",
        "created_at": 1_759_990_000 + 60 * number,
        "updated_at": 1_759_990_000 + 60 * number,
        "notified_at": 1_759_990_000 + 60 * number,
        "assigned_to": None,
        "author": {"type": "user", "id": "65a1", "name": "Ida Example", "email": "ida@example.com"},
        "attachments": [],
        "external_id": None,
        "redacted": False,
    }
