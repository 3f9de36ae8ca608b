"""Items about tickets: alone, beside the part that is new, or reduced beside a contact."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from .conversations import CUSTOMER, TEAMMATE
from .kinds import WORKSPACE, Item, ItemMaker
from .people import ADMIN_ID, CONTACT_ID, contact

TICKET_ID: Final = "218840037560017"
TEAM_ID: Final = "5120077"
TYPE_DESCRIPTION: Final = "Anything about an order that a teammate has to look into"
ATTRIBUTES: Final = {
    "_default_title_": "Wrong colour delivered",
    "_default_description_": "Ordered the green one, got the red one.",
    "Order number": "A-20417",
}


def ticket_part(now: int, kind: str, *, author: Item = TEAMMATE, **more: Any) -> Item:
    """Return one part of a ticket; ``more`` are the keys that its kind adds."""
    # Intercom writes what a part says or changes before its times, and what it was given to after them.
    first: Item = {key: more.pop(key) for key in ("body", "ticket_state", "previous_ticket_state") if key in more}
    assigned = {"assigned_to": more.pop("assigned_to")} if "assigned_to" in more else {}
    return {
        "type": "ticket_part",
        "id": "38115220941",
        "part_type": kind,
        **first,
        "created_at": now,
        "updated_at": now,
        **assigned,
        "author": {**author},
        "attachments": [],
        "redacted": False,
        **more,
    }


def ticket_state(category: str) -> Item:
    """Return one of the states of a ticket."""
    label = category.replace("_", " ").capitalize()
    state_id = {"submitted": "4660181", "in_progress": "4660182", "resolved": "4660184"}[category]
    return {
        "type": "ticket_state",
        "id": state_id,
        "category": category,
        "internal_label": label,
        "external_label": label,
    }


def ticket_type(made: int) -> Item:
    """Return the kind of ticket, with the attributes that its tickets have."""
    attributes = [
        {
            "type": "ticket_type_attribute",
            "id": str(8630411 + order),
            "workspace_id": WORKSPACE,
            "name": name,
            "description": "",
            "data_type": "string",
            "input_options": {"multiline": name == "_default_description_"},
            "order": order,
            "required_to_create": False,
            "required_to_create_for_contacts": False,
            "visible_on_create": True,
            "visible_to_contacts": True,
            "default": name.startswith("_default_"),
            "ticket_type_id": 3081944,
            "archived": False,
            "created_at": made,
            "updated_at": made,
        }
        for order, name in enumerate(ATTRIBUTES)
    ]
    return {
        "type": "ticket_type",
        "id": "3081944",
        "name": "Order trouble",
        "description": TYPE_DESCRIPTION,
        "icon": "📦",
        "workspace_id": WORKSPACE,
        "archived": False,
        "created_at": made,
        "updated_at": made,
        "is_internal": False,
        "ticket_type_attributes": {"type": "list", "data": attributes},
        "category": "Customer",
    }


def ticket(now: int, *parts: Item, state: str = "submitted", beside: bool = False) -> Item:
    """Return a ticket that was made five minutes ago; ``beside`` a part it has two keys less."""
    began = now - 300
    return {
        "type": "ticket",
        "id": TICKET_ID,
        "ticket_id": "70021586",
        "ticket_attributes": {**ATTRIBUTES},
        "ticket_state": ticket_state(state),
        "ticket_type": ticket_type(began - 86_400),
        "contacts": {
            "type": "contact.list",
            "contacts": [{"type": "contact", "id": CONTACT_ID, "external_id": "user-12345"}],
        },
        "admin_assignee_id": str(ADMIN_ID),
        "team_assignee_id": "0",
        "created_at": began,
        "updated_at": now,
        "ticket_parts": {"type": "ticket_part.list", "ticket_parts": list(parts), "total_count": len(parts)},
        "open": True,
        **({} if beside else {"snoozed_until": None}),
        "linked_objects": {"type": "list", "data": [], "total_count": 0, "has_more": False},
        "category": "Customer",
        "is_shared": True,
        **({} if beside else {"company_id": None}),
        "channel": "messenger",
    }


def ticket_and_part(now: int, *, kind: str, author: Item = TEAMMATE, **more: Any) -> Item:
    """Return a ticket and, beside it, the part that is new."""
    return {
        "type": "ticket_ticket_part",
        "ticket": ticket(now, ticket_part(now, kind, author=author, **more), beside=True),
        "ticket_part": ticket_part(now, kind, author=author, **more),
    }


def created(now: int) -> Item:
    """Return a ticket that nobody looks after yet."""
    return {**ticket(now), "admin_assignee_id": "0", "created_at": now}


def state_changed(now: int, *, state: str) -> Item:
    """Return a ticket whose newest part says that it went from submitted to ``state``."""
    kind = "ticket_state_updated_by_admin"
    return ticket(now, ticket_part(now, kind, ticket_state=state, previous_ticket_state="submitted"), state=state)


def given_to_team(now: int) -> Item:
    """Return a ticket that a team looks after now."""
    item = ticket_and_part(now, kind="assignment", assigned_to={"type": "team", "id": TEAM_ID})
    item["ticket"].update(admin_assignee_id="0", team_assignee_id=TEAM_ID)
    return item


def closed(now: int) -> Item:
    """Return a closed ticket, which stands under a key of its own since API 2.15."""
    return {"ticket": {**ticket(now, ticket_part(now, "close"), state="resolved"), "open": False}}


def snoozed(now: int) -> Item:
    """Return a ticket that sleeps for a day."""
    return {**ticket(now, ticket_part(now, "snoozed")), "snoozed_until": now + 86_400}


def unsnoozed(now: int) -> Item:
    """Return a ticket that was woken up."""
    return ticket(now, ticket_part(now, "unsnoozed"))


def translated(now: int) -> Item:
    """Return a ticket whose newest part was translated."""
    translations = [{"language": "nl", "body": "<p>De groene fiets is onderweg.</p>"}]
    return ticket(
        now, ticket_part(now, "comment", body="<p>The green one is on its way.</p>", translations=translations)
    )


def rated(now: int) -> Item:
    """Return a ticket and what the contact thinks of how it was handled."""
    rating = {"rating": 4, "remark": "Took a day, went well", "created_at": now}
    return {**ticket(now, state="resolved"), "ticket_rating": rating}


def ticket_and_contact(now: int) -> Item:
    """Return a contact and a ticket in a reduced shape, whose id is an integer; the item itself has no type."""
    reduced = {
        "type": "ticket",
        "id": int(TICKET_ID),
        "url": f"https://app.intercom.com/a/apps/{WORKSPACE}/conversations/{TICKET_ID}",
        "custom_attributes": {name: {"value": value, "type": "string"} for name, value in ATTRIBUTES.items()},
        "state": "submitted",
        "ticket_type": "Order trouble",
        "ticket_type_description": TYPE_DESCRIPTION,
        "ticket_type_emoji": "📦",
        "ticket_custom_state_admin_label": "Submitted",
        "ticket_custom_state_user_label": "Submitted",
    }
    return {"ticket": reduced, "contact": contact(now, attached=True)}


ATTRIBUTE_CHANGE: Final = {
    "attribute": {"type": "attribute", "id": "8630413", "label": "Order number"},
    "value": {"type": "value", "id": "A-20417", "label": "A-20417", "previous": ""},
}

ITEMS: Final[dict[str, ItemMaker]] = {
    "ticket.admin.assigned": partial(
        ticket_and_part, kind="assignment", assigned_to={"type": "admin", "id": str(ADMIN_ID)}
    ),
    "ticket.admin.replied": partial(ticket_and_part, kind="comment", body="<p>The green one is on its way.</p>"),
    "ticket.admin.replied.translated": translated,
    "ticket.admin.snoozed": snoozed,
    "ticket.admin.unsnoozed": unsnoozed,
    "ticket.attribute.updated": partial(
        ticket_and_part, kind="ticket_attribute_updated_by_admin", updated_attribute_data=ATTRIBUTE_CHANGE
    ),
    "ticket.closed": closed,
    "ticket.contact.attached": ticket_and_contact,
    "ticket.contact.detached": ticket_and_contact,
    "ticket.contact.replied": partial(ticket_and_part, kind="comment", author=CUSTOMER, body="<p>It came!</p>"),
    "ticket.created": created,
    "ticket.note.created": partial(ticket_and_part, kind="note", body="<p>The warehouse mixed up two boxes.</p>"),
    "ticket.rating.provided": rated,
    "ticket.resolved": partial(state_changed, state="resolved"),
    "ticket.state.updated": partial(state_changed, state="in_progress"),
    "ticket.team.assigned": given_to_team,
}
