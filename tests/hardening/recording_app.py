"""The app that a million hostile requests are sent to: it counts what reaches it, and tells at ``/seen``."""

from __future__ import annotations

import os
from collections import Counter

import msgspec
from starlette.types import Receive, Scope, Send

from starlette_intercom import Intercom, IntercomMiddleware, Notification
from tests.factories import SECRET, TOPIC
from tests.hardening.hostile_requests import PATH, UNVERIFIED

intercom = Intercom(SECRET, inbox=os.environ["INBOX"])
counts: Counter[str] = Counter()
good: set[str] = set()


@intercom.on(TOPIC, retries=0)
async def look(notification: Notification) -> None:
    counts["handled"] += 1
    counts["unverified in a handler"] += UNVERIFIED in notification.raw
    if (notification.id or "").startswith("good-"):
        good.add(str(notification.id))
    assert notification.item is not None


@intercom.on_unhandled
async def look_at_unhandled(notification: Notification) -> None:
    counts["unverified in a hook"] += UNVERIFIED in notification.raw


async def record(scope: Scope, receive: Receive, send: Send) -> None:
    """Be the app behind the middleware: it knows ``/seen`` only, and reads whatever it is sent."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    status, answer = 404, b""
    if scope["path"] == "/seen":
        stats = msgspec.structs.asdict(await intercom.stats())
        status, answer = 200, msgspec.json.encode({**counts, "good": len(good), **stats})
    else:
        counts["in the app"] += 1
        counts["unverified in the app"] += UNVERIFIED in body or scope["path"] in (PATH.decode(), "/smuggled")
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


app = IntercomMiddleware(record, intercom=intercom)
