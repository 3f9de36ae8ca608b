"""What the processes of a deployment on Redis run: ``uvicorn tests.inbox.redis_app:app``, or this as a worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware

from starlette_intercom import Delivery, Intercom, IntercomMiddleware, Notification
from starlette_intercom.inbox.redis import RedisInbox
from tests.factories import SECRET, TOPIC

log = Path(os.environ["REDIS_APP_LOG"])
intercom = Intercom(SECRET, inbox=RedisInbox(os.environ["REDIS_APP_URL"], timeout=1), lease=2)
app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom)])


def note(what: str, delivery: Delivery) -> None:
    with log.open("a") as file:
        file.write(f"{what} {delivery.id} {os.getpid()}\n")


@intercom.on(TOPIC)
async def handle(notification: Notification[Any], delivery: Delivery) -> None:
    note("began", delivery)
    while delivery.id.endswith("held") and not log.with_suffix(".go").exists():
        await anyio.sleep(0.02)
    note("ended", delivery)


async def work() -> None:
    """Process deliveries until SIGTERM comes."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with intercom.lifespan(None):
            print("working", flush=True)  # noqa: T201 - the test waits for it
            await anext(signals)


if __name__ == "__main__":
    anyio.run(work)
