"""The app that runs for a long time: handlers that do all that handlers do, and an endpoint that tells how it is.

It writes down each run of a handler, when it begins and when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import starlette_intercom.intercom
from starlette_intercom import (
    Backoff,
    Delivery,
    Event,
    EventsClient,
    Failure,
    Inbox,
    Intercom,
    IntercomMiddleware,
    Notification,
    Reject,
    Retry,
    SQLiteOutbox,
    TaskGroupRunner,
)
from starlette_intercom.inbox.sqlite import SQLiteInbox
from tests.ledger import Ledger

from .settings import DRAIN_TIMEOUT, LEASE, MAX_BODY_SIZE, READ_TIMEOUT, RETENTION, SECRET, TIDY_INTERVAL

logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(name)s: %(message)s")
vars(starlette_intercom.intercom)["_TIDY_INTERVAL"] = TIDY_INTERVAL  # nobody needs it as an option

SOON = Backoff(base=0.2, factor=2, cap=1)
ledger = Ledger(os.environ["LEDGER"])
running = 0


def inbox_of(where: str) -> Inbox:
    if where.startswith("redis:"):
        from starlette_intercom.inbox.redis import RedisInbox

        return RedisInbox(where, retention=RETENTION, timeout=1)
    return SQLiteInbox(where, retention=RETENTION)


def conversation_of(notification: Notification[Any]) -> str | None:
    return str(notification.item["id"]) if notification.topic == "conversation.user.replied" else None


inbox = inbox_of(os.environ["INBOX"])
intercom = Intercom(
    SECRET,
    inbox=inbox,
    events=EventsClient(
        access_token="fake-token",
        base_url=os.environ["EVENTS_URL"],
        outbox=SQLiteOutbox(inbox.path) if isinstance(inbox, SQLiteInbox) else None,
    ),
    runner=TaskGroupRunner(30),
    serialize_by=conversation_of,
    lease=LEASE,
    read_timeout=READ_TIMEOUT,
    drain_timeout=DRAIN_TIMEOUT,
    max_body_size=MAX_BODY_SIZE,
    dead_letter_retention=RETENTION,
)


@contextmanager
def noted(handler: str, delivery: Delivery) -> Iterator[None]:
    """Write down that a handler runs, and how that ended."""
    global running
    who = (handler, delivery.id, delivery.fencing)
    ledger.note("start", *who, time.monotonic())
    running += 1
    outcome = "cut-off"
    try:
        yield
        outcome = "done"
    except Exception:
        outcome = "failed"
        raise
    finally:
        running -= 1
        ledger.note(outcome, *who, time.monotonic())


@intercom.on("conversation.user.created")
async def first(notification: Notification[Any], delivery: Delivery) -> None:
    with noted("first", delivery):
        assert notification.item["id"]
        await anyio.sleep(0.005)


@intercom.on("conversation.user.created")
async def second(delivery: Delivery) -> None:
    with noted("second", delivery):
        await anyio.sleep(0.02)


@intercom.on("conversation.user.replied")
async def serialized(delivery: Delivery) -> None:
    with noted("serialized", delivery):
        await anyio.sleep(0.03)


@intercom.on("contact.user.created")
def threaded(notification: Notification[Any], delivery: Delivery) -> None:
    with noted("threaded", delivery):
        assert notification.item["role"] == "user"
        time.sleep(0.02)


@intercom.on("contact.lead.created", retries=9, backoff=SOON)
async def flaky(delivery: Delivery) -> None:
    with noted("flaky", delivery):
        if delivery.attempt <= 2:
            raise RuntimeError("not yet")


@intercom.on("contact.subscribed", retries=9)
async def later(delivery: Delivery) -> None:
    with noted("later", delivery):
        if delivery.attempt == 1:
            raise Retry(after=0.5)


@intercom.on("ticket.created", retries=9, timeout=0.3, backoff=SOON)
async def overdue(delivery: Delivery) -> None:
    with noted("overdue", delivery):
        if delivery.attempt == 1:
            await anyio.sleep_forever()


@intercom.on("ticket.closed", retries=1, timeout=0.3, backoff=SOON)
async def endless(delivery: Delivery) -> None:
    with noted("endless", delivery):
        await anyio.sleep_forever()


@intercom.on("company.created")
async def kept(delivery: Delivery) -> None:
    with noted("kept", delivery):
        pass


@intercom.on("company.created", retries=1, backoff=SOON)
async def failing(delivery: Delivery) -> None:
    with noted("failing", delivery):
        raise RuntimeError("never")


@intercom.on("company.updated", retries=1, backoff=SOON)
def threaded_failing(delivery: Delivery) -> None:
    with noted("threaded_failing", delivery):
        raise ValueError("never")


@intercom.on("contact.deleted")
async def rejecting(delivery: Delivery) -> None:
    with noted("rejecting", delivery):
        raise Reject("not wanted")


class OfAnotherShape(msgspec.Struct):
    """Of what no contact has."""

    phase_of_the_moon: int


@intercom.on("contact.email.updated", item=OfAnotherShape)
async def typed(notification: Notification[OfAnotherShape], delivery: Delivery) -> None:
    with noted("typed", delivery):
        raise AssertionError("it does not fit")


@intercom.on("conversation.admin.replied")
async def event(notification: Notification[Any], delivery: Delivery, events: EventsClient) -> None:
    with noted("event", delivery):
        await events.enqueue(Event("replied-conversation", user_id=delivery.id, created_at=notification.created_at))


@intercom.on_error
async def hear(failure: Failure) -> None:
    assert failure.error


async def state(request: Request) -> JSONResponse:
    """Tell what only this process knows."""
    await anyio.to_thread.run_sync(int)  # whoever uses a thread ends those that were idle for long
    tasks, blocks = len(asyncio.all_tasks()), sys.getallocatedblocks()
    return JSONResponse({"tasks": tasks, "running": running, "blocks": blocks})


async def stats(request: Request) -> JSONResponse:
    return JSONResponse(msgspec.to_builtins(await intercom.stats()))


async def dead(request: Request) -> JSONResponse:
    """Tell of each dead letter which handlers failed for good, and with what."""
    letters = await intercom.dead_letters.list(limit=100_000)
    return JSONResponse(
        {
            letter.id: [[name.rpartition(".")[2] for name in letter.handlers], [one.error for one in letter.failures]]
            for letter in letters
        }
    )


async def unavailable(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": type(error).__name__}, 503)


app = Starlette(
    routes=[Route("/state", state), Route("/stats", stats), Route("/dead", dead)],
    middleware=[Middleware(IntercomMiddleware, intercom=intercom)],
    exception_handlers={starlette_intercom.InboxUnavailable: unavailable},
)
