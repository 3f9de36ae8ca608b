"""Typed items: name the fields that you use, and what does not fit becomes a dead letter that names the field.

    INTERCOM_CLIENT_SECRET=… uvicorn --app-dir examples typed_payloads:app

Fields that you leave out are ignored. `starlette_intercom.testing.sample(topic)` shows what a topic's item holds.
"""

from dataclasses import dataclass
from typing import TypedDict

import msgspec
import pydantic
from starlette.applications import Starlette
from starlette.middleware import Middleware

from starlette_intercom import Intercom, IntercomMiddleware, Notification

intercom = Intercom.from_env()


class Contact(msgspec.Struct):
    """A msgspec struct: the fastest."""

    id: str
    role: str
    email: str | None = None


@intercom.on("contact.user.created", item=Contact)
async def welcome(notification: Notification[Contact]) -> None:
    contact = notification.item
    print(f"welcome {contact.email or contact.id}", flush=True)


@dataclass
class Company:
    """A dataclass."""

    id: str
    name: str
    monthly_spend: float = 0


@intercom.on("company.created", item=Company)
async def greet(notification: Notification[Company]) -> None:
    company = notification.item
    print(f"{company.name} spends {company.monthly_spend:.2f} a month", flush=True)


class Conversation(TypedDict):
    """A TypedDict: stays a dict, but one whose keys were checked."""

    id: str
    state: str


@intercom.on("conversation.admin.closed", item=Conversation)
async def archive(notification: Notification[Conversation]) -> None:
    conversation = notification.item
    print(f"conversation {conversation['id']} is {conversation['state']}", flush=True)


class TicketState(pydantic.BaseModel):
    """A part of the model below."""

    category: str


class Ticket(pydantic.BaseModel):
    """A pydantic model, with all its validators."""

    id: str
    number: int = pydantic.Field(alias="ticket_id")
    ticket_state: TicketState


@intercom.on("ticket.created", item=Ticket)
async def triage(notification: Notification[Ticket]) -> None:
    ticket = notification.item
    print(f"ticket {ticket.number} is {ticket.ticket_state.category}", flush=True)


@intercom.on("contact.lead.created")
async def by_hand(notification: Notification) -> None:
    lead = notification.item_as(Contact)  # where the type depends on the topic, say
    print(f"lead {lead.id}", flush=True)


app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")])
