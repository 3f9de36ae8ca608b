"""An app with a lifespan of its own, and handlers that work, sleep, and fail; it prints what happens."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from starlette_intercom import Intercom, IntercomMiddleware, Notification

intercom = Intercom("a-made-up-client-secret", read_timeout=float(os.environ.get("READ_TIMEOUT", "4")))
resources: list[str] = []


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    print("app: up", flush=True)
    resources.append("database")
    yield
    resources.clear()
    print("app: down", flush=True)


@intercom.on("conversation.user.created")
async def sleep(notification: Notification) -> None:
    print(f"handler: begin {notification.id}", flush=True)
    await anyio.sleep(notification.item.get("seconds", 0))
    print(f"handler: end {notification.id} with {resources}", flush=True)


@intercom.on("contact.user.created", retries=0)
async def fail(notification: Notification) -> None:
    raise SystemExit(f"handler: fail {notification.id}")


async def health(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


app = Starlette(
    lifespan=lifespan,
    routes=[Route("/health", health)],
    middleware=[Middleware(IntercomMiddleware, intercom=intercom)],
)
