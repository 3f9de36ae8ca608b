"""What one would write by hand with Starlette, as fast as it reads naturally.

Each of them leaves out what the library does beyond it: limits on size and time of a body, retries, dead letters,
time-outs, draining, and, in the two without Redis, recognising a duplicate.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..notifications import PATH, SECRET
from .tally import Tally

_SEEN_FOR = 7 * 24 * 3600  # seconds

Endpoint = Callable[[Request], Awaitable[Response]]


def bare() -> Starlette:
    """Return an app whose route only answers: it neither reads the body nor handles anything."""

    async def webhook(request: Request) -> Response:
        return JSONResponse({"received": True})

    return _app(webhook, Tally())


def handwritten(*, sleep: float, reads_item: bool) -> Starlette:
    """Return an app that verifies, parses, starts the handler as a task, and answers."""
    tally = Tally()
    tasks: set[asyncio.Task[None]] = set()

    async def handle(notification: dict[str, Any]) -> None:
        if sleep:
            await asyncio.sleep(sleep)
        if reads_item and notification["data"]["item"]["type"] != "conversation":
            raise ValueError("not a conversation")
        tally.add(notification["id"])

    async def webhook(request: Request) -> Response:
        body = await request.body()
        if not _is_signed(request, body):
            return JSONResponse({"error": "Invalid signature"}, status_code=401)
        notification = json.loads(body)
        task = asyncio.create_task(handle(notification))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return JSONResponse({"received": True})

    return _app(webhook, tally)


def handwritten_redis(url: str, *, sleep: float, reads_item: bool) -> Starlette:
    """Return the same app, which also claims each notification in Redis, and marks it there once it is handled."""
    import redis.asyncio

    tally = Tally()
    tasks: set[asyncio.Task[None]] = set()
    client = redis.asyncio.Redis.from_url(url)

    async def handle(notification: dict[str, Any]) -> None:
        if sleep:
            await asyncio.sleep(sleep)
        if reads_item and notification["data"]["item"]["type"] != "conversation":
            raise ValueError("not a conversation")
        tally.add(notification["id"])
        await client.set(f"notification:{notification['id']}", "done", ex=_SEEN_FOR)

    async def webhook(request: Request) -> Response:
        body = await request.body()
        if not _is_signed(request, body):
            return JSONResponse({"error": "Invalid signature"}, status_code=401)
        notification = json.loads(body)
        if not await client.set(f"notification:{notification['id']}", "claimed", nx=True, ex=_SEEN_FOR):
            return JSONResponse({"received": True, "duplicate": True})
        task = asyncio.create_task(handle(notification))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return JSONResponse({"received": True})

    return _app(webhook, tally, client.aclose)


def _is_signed(request: Request, body: bytes) -> bool:
    expected = "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
    return hmac.compare_digest(expected.encode(), request.headers.get("x-hub-signature", "").encode())


def _app(webhook: Endpoint, tally: Tally, close: Callable[[], Awaitable[None]] | None = None) -> Starlette:
    async def handled(request: Request) -> Response:
        return JSONResponse(tally.read())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        if close is not None:
            await close()

    routes = [Route(PATH, webhook, methods=["POST"]), Route("/handled", handled)]
    return Starlette(routes=routes, lifespan=lifespan)
