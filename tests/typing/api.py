"""What type checkers make of the public interface; mypy checks this file, nothing runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, assert_type

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request

from starlette_intercom import (
    Backoff,
    DeadLetter,
    Delivery,
    EventsClient,
    HandlerRegistry,
    Inbox,
    Intercom,
    IntercomMiddleware,
    Notification,
    Observer,
    Started,
    Stats,
    Step,
    StoredNotification,
    Tracer,
    VerifiedBody,
    VerifiedNotification,
    get_intercom,
)
from starlette_intercom.otel import OpenTelemetryObserver


class Contact(msgspec.Struct):
    id: str


@dataclasses.dataclass
class Company:
    name: str


intercom = Intercom("secret", inbox="memory:")
Intercom(["new", "old"], region="eu")
Intercom({"new": "secret"}, dedupe_key=lambda notification: notification.id)
Intercom("secret", region="mars")  # type: ignore[arg-type]
Intercom(b"secret")  # type: ignore[arg-type]
Intercom()  # type: ignore[call-arg]


# A decorated function keeps its type, and so does one that is given.


@intercom.on("conversation.user.created", "a.topic.of.the.future", retries=8, timeout=None, backoff=Backoff(base=2))
async def answer(notification: Notification, delivery: Delivery) -> int:
    assert_type(notification.item, Any)
    assert_type(notification.topic, str)
    assert_type(notification.id, str | None)
    assert_type(notification.item_as(Contact), Contact)
    assert_type(notification.with_item(Company("x")), StoredNotification[Company])
    return delivery.attempt


@intercom.on("contact.user.created", item=Contact)
def typed(notification: Notification[Contact]) -> str:
    assert_type(notification.item, Contact)
    assert_type(notification.item.nothing, Any)  # type: ignore[attr-defined]
    return notification.item.id


@intercom.on_error
async def failed(notification: Notification, error: Exception) -> None: ...


@intercom.on_unhandled
def unhandled(notification: Notification) -> None: ...


count: Callable[[Notification[Any], Delivery], Coroutine[Any, Any, int]] = answer
name: Callable[[Notification[Contact]], str] = typed
hook: Callable[[Notification[Any]], None] = unhandled
same: Callable[[Notification[Contact]], str] = intercom.on("contact.*", handler=typed, name="again")
wrong: Callable[[Notification[Contact]], int] = intercom.on("contact.*", handler=typed)  # type: ignore[assignment]

intercom.on("contact.*", handler=5)  # type: ignore[call-overload]
intercom.on("contact.*", retries="3")  # type: ignore[call-overload]
intercom.on(5)  # type: ignore[call-overload]

handlers = HandlerRegistry()
intercom.include(handlers)


# Only what was verified can be accepted.


async def accepts(inbox: Inbox, stored: StoredNotification[Any], body: VerifiedBody, raw: bytes) -> None:
    verified = VerifiedNotification(body)
    assert_type(await inbox.accept(verified, key="a"), bool)
    await inbox.accept(stored, key="a")  # type: ignore[arg-type]
    VerifiedNotification(raw)  # type: ignore[arg-type]
    verified.raw = b""


# What people use beside it.


async def people(request: Request) -> None:
    found = get_intercom(request)
    assert_type(found, Intercom)
    assert_type(found.events, EventsClient)
    assert_type(await found.stats(), Stats)
    assert_type(found.secret_uses, Mapping[str, int])
    assert_type(await found.dead_letters.list(topic="contact.created"), Sequence[DeadLetter])
    assert_type(await found.dead_letters.get("id"), DeadLetter | None)
    assert_type(await found.dead_letters.replay("id"), bool)
    assert_type(await found.dead_letters.replay_all(), int)


class Counting:
    def observe(self, step: Step, /) -> None:
        if isinstance(step, Started):
            assert_type(step.waited, float)
            assert_type(step.trace, str | None)
            step.waited = 0.0  # type: ignore[misc]


class Deaf:
    def listen(self, step: Step, /) -> None: ...


counting: Observer = Counting()
tracing: Tracer = OpenTelemetryObserver()
not_tracing: Tracer = Counting()  # type: ignore[assignment]
Intercom("secret", observers=[counting, tracing])
Intercom("secret", observers=[Deaf()])  # type: ignore[list-item]
Intercom("secret", observers=counting)  # type: ignore[arg-type]
EventsClient(access_token="token", observers=(counting,))

app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")])
Starlette(lifespan=intercom.lifespan)
