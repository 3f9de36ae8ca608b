"""What one notification costs by itself, in one process and without a server: the least noisy of the measurements."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope

from starlette_intercom import Intercom, Notification, sign

from .notifications import PATH, SECRET, TOPIC, bodies
from .servers.references import handwritten

_BATCH: Final = 64
_ROUNDS: Final = 300
_CONCURRENCY: Final = 32


def path(size: int) -> dict[str, float]:
    """Return the microseconds from a request to a handled notification, of ours in memory and of the hand-written app.

    The fastest of many short rounds counts, which is the one that nothing has disturbed.

    Args:
        size: bytes of a body.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_path(size))


async def _path(size: int) -> dict[str, float]:
    intercom = Intercom(SECRET)

    handled = asyncio.Event()
    count = 0

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        nonlocal count
        count += 1
        if count % _BATCH == 0:
            handled.set()

    requests = ((_scope(body), body) for body in bodies(size, 2 * _BATCH * _ROUNDS))
    found = {"ours, memory": float("inf"), "hand-written Starlette": float("inf")}
    async with intercom.lifespan(None):
        apps: dict[str, ASGIApp] = {
            "ours, memory": intercom.webhooks,
            "hand-written Starlette": handwritten(sleep=0, reads_item=False),
        }
        for _ in range(_ROUNDS):
            for name, app in apps.items():
                batch = list(islice(requests, _BATCH))
                handled.clear()
                began = time.perf_counter()
                await asyncio.gather(*(_send(app, batch[number::_CONCURRENCY]) for number in range(_CONCURRENCY)))
                if app is intercom.webhooks:
                    await handled.wait()
                found[name] = min(found[name], (time.perf_counter() - began) / _BATCH * 1e6)
    return found


async def _send(app: ASGIApp, requests: list[tuple[Scope, bytes]]) -> None:
    for scope, body in requests:
        # As a server does it: a task for each request.
        await asyncio.create_task(_call(app, scope, body))


async def _call(app: ASGIApp, scope: Scope, body: bytes) -> None:
    statuses: list[Any] = []

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    await app(scope, _receive(body), send)
    assert statuses[0] == 200, f"answered with {statuses[0]}"


def _receive(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _scope(body: bytes) -> Scope:
    headers = {
        "host": "127.0.0.1",
        "user-agent": "load",
        "accept": "application/json",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-hub-signature": sign(body, SECRET),
    }
    return {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "root_path": "",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
