"""What users write, and type checkers must accept: mypy with all of this project, pyright by test_wrong_uses.py."""
# pyright: strict

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypedDict, assert_type

import httpx
import msgspec
import pydantic
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from starlette_intercom import (
    BODY_SIGNATURE,
    Backoff,
    DeadLetter,
    Delivery,
    Event,
    EventsClient,
    Failure,
    HandlerRegistry,
    Intercom,
    IntercomMiddleware,
    MemoryInbox,
    Money,
    Notification,
    RichLink,
    SignatureGuard,
    TrackResult,
    compose_lifespans,
    get_intercom,
)


class Contact(msgspec.Struct):
    id: str
    email: str | None = None


@dataclass
class Company:
    name: str


class Conversation(TypedDict):
    id: str


class Ticket(pydantic.BaseModel):
    id: str


intercom = Intercom("secret", inbox="sqlite:///intercom.db", serialize_by=lambda notification: notification.item["id"])
rotating = Intercom(["new", "old"], inbox=MemoryInbox(), region="eu", http_client=httpx.AsyncClient())
named = Intercom({"shop": "one", "blog": "two"})
from_environment = Intercom.from_env({"INTERCOM_CLIENT_SECRET": "secret"}, lease=10)
handlers = HandlerRegistry()


# A handler without item= has plain JSON values.


@intercom.on("conversation.user.created", "contact.*", "a.topic.of.the.future")
async def plain(notification: Notification) -> None:
    assert_type(notification.item["id"], Any)
    assert_type(notification.id, str | None)


@handlers.on("*", name="all", retries=8, timeout=None, backoff=Backoff(base=2, cap=600))
def in_a_thread(notification: Notification, delivery: Delivery, intercom: Intercom, events: EventsClient) -> str:
    return f"{notification.topic} {delivery.attempt} {intercom.inbox} {events}"


@handlers.on("ping")
async def of_nothing() -> None: ...


@handlers.on("ping")
async def in_any_order(events: EventsClient, *, notification: Notification) -> None: ...


# With item= the handler's first parameter is checked against it, and the function stays what it was.


@intercom.on("contact.user.created", item=Contact)
async def of_a_struct(notification: Notification[Contact]) -> None:
    assert_type(notification.item, Contact)


@intercom.on("company.created", item=Company)
def of_a_dataclass(notification: Notification[Company], delivery: Delivery) -> int:
    assert_type(notification.item.name, str)
    return delivery.attempt


@intercom.on("conversation.user.created", item=Conversation)
async def of_a_typed_dict(notification: Notification[Conversation], *, events: EventsClient) -> None:
    assert_type(notification.item["id"], str)


@intercom.on("ticket.created", item=Ticket)
async def of_a_model(notification: Notification[Ticket]) -> None:
    assert_type(notification.item.id, str)


@intercom.on("contact.user.created", item=Contact | Company)
async def of_a_union(notification: Notification[Contact | Company]) -> None:
    assert_type(notification.item, Contact | Company)


intercom.on("contact.user.updated", handler=of_a_union, item=Contact | Company)


@intercom.on("contact.user.created", item=dict[str, int])
async def of_a_generic(notification: Notification[dict[str, int]]) -> None:
    assert_type(notification.item["seconds"], int)


@intercom.on("contact.user.created", item=Contact)
async def checked_and_plain(notification: Notification) -> None: ...


@intercom.on("contact.user.created", item=Contact)
@handlers.on("contact.lead.created", item=Contact)
async def decorated_twice(notification: Notification[Contact]) -> None: ...


# Functions that are no functions, and the call instead of the decorator.


class Welcome:
    async def __call__(self, notification: Notification[Contact]) -> None: ...

    def method(self, notification: Notification[Contact]) -> None: ...


def with_more(notification: Notification[Contact], text: str) -> None: ...


assert_type(intercom.on("contact.user.updated", handler=Welcome()), Welcome)
intercom.on("contact.user.updated", handler=Welcome(), item=Contact)
intercom.on("contact.user.updated", handler=Welcome().method, item=Contact)
intercom.on("contact.user.updated", handler=partial(with_more, text="hello"), item=Contact)
intercom.on("contact.user.updated", handler=lambda notification: notification.item.email, item=Contact)


@intercom.on_error
async def alert(notification: Notification, error: Exception, failure: Failure) -> None: ...


@intercom.on_unhandled
def note(notification: Notification) -> None: ...


intercom.include(handlers)


async def uses(intercom: Intercom, notification: Notification, contact: Notification[Contact]) -> None:
    assert_type(notification.item_as(Contact), Contact)
    assert_type(notification.item_as(list[int]), list[int])
    await plain(notification)
    await of_a_struct(contact)
    assert_type(of_a_dataclass.__name__, str)
    await intercom.events.track("placed-order", user_id="1", metadata={"total": Money(5, "eur"), "items": 3})
    await intercom.events.enqueue(Event("placed-order", id="1", metadata={"order": RichLink("https://x.test", "x")}))
    assert_type(await intercom.events.track_many([Event("placed-order", email="a@example.com")]), TrackResult)
    assert_type([letter.error for letter in await intercom.dead_letters.list()], list[Failure | None])
    letter = await intercom.dead_letters.get("id")
    assert_type(letter, DeadLetter | None)


# All ways into an app.


@asynccontextmanager
async def own(app: Starlette) -> AsyncGenerator[None]:
    yield


@asynccontextmanager
async def with_state(app: Starlette) -> AsyncGenerator[Mapping[str, object]]:
    yield {"database": "…"}


async def bare(scope: Any, receive: Any, send: Any) -> None: ...


by_middleware = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")])
by_route = Starlette(routes=[Route("/webhooks", intercom.webhooks)], lifespan=intercom.lifespan)
by_mount = Starlette(
    routes=[Mount("/hooks", app=intercom.webhooks)], lifespan=compose_lifespans(own, with_state, intercom.lifespan)
)
wrapped = IntercomMiddleware(bare, intercom=intercom)
guarded = SignatureGuard(by_route, secrets=["new", "old"], scheme=BODY_SIGNATURE)
api = FastAPI(lifespan=compose_lifespans(intercom.lifespan))
api.add_middleware(IntercomMiddleware, intercom=intercom)


@api.get("/backlog")
async def backlog(intercom: Annotated[Intercom, Depends(get_intercom)]) -> int:
    return (await intercom.stats()).waiting
