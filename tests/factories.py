"""Makes what tests need again and again: notifications as Intercom sends them, and their headers."""

from __future__ import annotations

import json

from starlette_intercom import HUB_SIGNATURE, SignatureScheme, VerifiedBody, VerifiedNotification, sign

SECRET = "a-made-up-client-secret"
TOPIC = "conversation.user.created"

Headers = list[tuple[bytes, bytes]]


def envelope(topic: str = TOPIC, id: str | None = "notif_1", item: object = None, **more: object) -> bytes:
    """Return the body of a notification; ``more`` replaces or adds keys of the envelope."""
    content = {
        "type": "notification_event",
        "app_id": "workspace1",
        "data": {"type": "notification_event_data", "item": {"type": "conversation"} if item is None else item},
        "links": {},
        "id": id,
        "topic": topic,
        "delivery_status": "pending",
        "delivery_attempts": 1,
        "delivered_at": 0,
        "first_sent_at": 1_760_000_000,
        "created_at": 1_760_000_000,
        "self": None,
    }
    return json.dumps(content | more).encode()


def signature(body: bytes, *, secret: str = SECRET, scheme: SignatureScheme = HUB_SIGNATURE) -> tuple[bytes, bytes]:
    """Return the signature header, as servers hand it to an ASGI app."""
    return scheme.header.lower().encode(), sign(body, secret, scheme).encode()


def headers_of(body: bytes, *, secret: str = SECRET, scheme: SignatureScheme = HUB_SIGNATURE) -> Headers:
    """Return all headers of a request that Intercom signed."""
    return [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        signature(body, secret=secret, scheme=scheme),
    ]


def notification(body: bytes) -> VerifiedNotification:
    """Return a notification as the webhook sub-application hands it to an inbox."""
    return VerifiedNotification(VerifiedBody(body, "1"))
