"""A process with a handler that ends it: works off the inbox, or dies trying."""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio
import msgspec

from starlette_intercom import Intercom, Notification, VerifiedBody, VerifiedNotification
from starlette_intercom.testing import sample
from tests.ledger import Ledger

intercom = Intercom("secret", inbox=os.environ["INTERCOM_INBOX"])
ledger = Ledger(os.environ["LEDGER"])


@intercom.on("conversation.user.created", name="tests.crash.deadly.deadly")
async def deadly(notification: Notification[Any]) -> None:
    ledger.note("deadly")
    os._exit(70)


@intercom.on("conversation.user.created")
async def after(notification: Notification[Any]) -> None:
    ledger.note("after")


@intercom.on("contact.user.created")
async def other(notification: Notification[Any]) -> None:
    ledger.note("other")


async def deliver() -> None:
    await intercom.inbox.open()
    for topic in ("contact.user.created", "conversation.user.created"):
        body = VerifiedBody(msgspec.json.encode(sample(topic)), "1")
        await intercom.inbox.accept(VerifiedNotification(body), key=topic)
    await intercom.inbox.close()


async def work() -> None:
    async with intercom.lifespan(None):
        while (stats := await intercom.stats()).waiting + stats.running + stats.scheduled:
            await anyio.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1:] == ["deliver"]:
        anyio.run(deliver)
    anyio.run(work)
