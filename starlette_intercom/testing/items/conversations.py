"""Items about conversations: with Unix seconds, ids that are strings, and the newest part only."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

from .kinds import WORKSPACE, Item, ItemMaker
from .people import ADMIN_ID, COMPANY_ID, CONTACT_ID, TAG, contact
from .times import iso, iso_z

CONVERSATION_ID: Final = "218840037551902"
TEAMMATE: Final = {"id": str(ADMIN_ID), "type": "admin", "name": "Ines Okafor", "email": "ines@example.com"}
CUSTOMER: Final = {"id": CONTACT_ID, "type": "user", "name": "Noor Haddad", "email": "noor@example.com"}
FIN: Final = {"id": "7301450", "type": "bot", "name": "Fin", "email": f"operator+{WORKSPACE}@example.com"}
QUESTION: Final = "<p>Can I pay by invoice?</p>"
ANSWER: Final = "<p>Yes: choose it under Billing, then Payment.</p>"
PAGE: Final = "https://www.example.com/pricing"


def part(now: int, kind: str, *, author: Item, body: str | None = None, state: str = "open", **more: Any) -> Item:
    """Return one part of a conversation: a comment, a note, or something that happened to it."""
    by_fin = author is FIN
    return {
        "type": "conversation_part",
        "id": "38114902766",
        "part_type": kind,
        "body": body,
        "created_at": now,
        "updated_at": now,
        "notified_at": now,
        "assigned_to": {"type": "admin", "id": str(ADMIN_ID)} if kind == "assignment" else None,
        "author": {**author, "from_ai_agent": by_fin, "is_ai_answer": by_fin},
        "attachments": [],
        "external_id": None,
        "redacted": False,
        "metadata": {},
        "email_message_metadata": None,
        "state": state,
        "tags": [],
        "event_details": {},
        "app_package_code": None,
        **more,
    }


def statistics(now: int, *, closed: bool) -> Item:
    """Return what Intercom counts about a conversation, with times as text."""
    close = now if closed else None
    return {
        "type": "conversation_statistics",
        "time_to_assignment": 60,
        "time_to_admin_reply": 60,
        "time_to_first_close": 300 if closed else None,
        "time_to_last_close": 300 if closed else None,
        "median_time_to_reply": 60,
        "first_contact_reply_at": iso_z(now - 300),
        "first_assignment_at": iso_z(now - 240),
        "first_admin_reply_at": iso_z(now - 240),
        "first_close_at": close and iso_z(close),
        "last_assignment_at": iso_z(now - 240),
        "last_assignment_admin_reply_at": iso_z(now - 240),
        "last_contact_reply_at": iso_z(now - 300),
        "last_admin_reply_at": iso_z(now - 240),
        "last_close_at": close and iso_z(close),
        "last_closed_by_id": ADMIN_ID if closed else None,
        "count_reopens": 0,
        "count_assignments": 1,
        "count_conversation_parts": 3,
        "assigned_team_first_response_time": [],
        "assigned_team_first_response_time_in_office_hours": [],
        "handling_time": 120 if closed else None,
    }


def conversation(now: int, *parts: Item, state: str = "open", by_admin: bool = False, **changes: Any) -> Item:
    """Return a conversation that began five minutes ago; ``changes`` replace what stands under keys that it has."""
    began = now - 300
    author = TEAMMATE if by_admin else CUSTOMER
    kind = "conversation"
    item: Item = {
        "type": kind,
        "id": CONVERSATION_ID,
        "created_at": began,
        "updated_at": now,
        "waiting_since": None if by_admin else began,
        "snoozed_until": None,
        "source": {
            "type": kind,
            "id": "3420087715",
            "delivered_as": "admin_initiated" if by_admin else "customer_initiated",
            "subject": "",
            "body": "<p>Would you like a tour?</p>" if by_admin else QUESTION,
            "author": {key: author[key] for key in ("type", "id", "name", "email")},
            "attachments": [],
            "url": None if by_admin else PAGE,
            "redacted": False,
        },
        "contacts": {
            "type": "contact.list",
            "contacts": [{"type": "contact", "id": CONTACT_ID, "external_id": "user-12345"}],
        },
        "first_contact_reply": None if by_admin else {"created_at": began, "type": kind, "url": PAGE},
        "admin_assignee_id": ADMIN_ID,
        "team_assignee_id": None,
        "open": state != "closed",
        "state": state,
        "read": True,
        "tags": {"type": "tag.list", "tags": []},
        "priority": "not_priority",
        "sla_applied": None,
        "statistics": statistics(now, closed=state == "closed"),
        "conversation_rating": None,
        "teammates": {"type": "admin.list", "admins": [{"type": "admin", "id": str(ADMIN_ID)}]},
        "title": "",
        "custom_attributes": {"Has attachments": False, "Auto-translated": False, "Copilot used": False},
        "topics": {"type": "topic.list", "topics": [], "total_count": 0},
        "ticket": None,
        "linked_objects": {"type": "list", "data": [], "total_count": 0, "has_more": False},
        "ai_agent": None,
        "ai_agent_participated": False,
        "conversation_parts": {
            "type": "conversation_part.list",
            "conversation_parts": list(parts),
            "total_count": len(parts),
        },
    }
    return {**item, **changes}


def started(now: int) -> Item:
    """Return a conversation right after its first message, which stands in ``source``."""
    return conversation(now, admin_assignee_id=None, read=False, teammates={"type": "admin.list", "admins": []})


def changed(now: int, *, kind: str, author: Item, body: str | None = None, state: str = "open") -> Item:
    """Return a conversation whose newest part is of the given kind."""
    return conversation(now, part(now, kind, author=author, body=body, state=state), state=state)


def snoozed(now: int) -> Item:
    """Return a conversation that sleeps for a day."""
    return {**changed(now, kind="snoozed", author=TEAMMATE, state="snoozed"), "snoozed_until": now + 86_400}


def translated(now: int) -> Item:
    """Return a conversation whose newest part was translated."""
    translations = [{"language": "nl", "body": "<p>Ja: kies dat onder Facturering, dan Betaling.</p>"}]
    return conversation(now, part(now, "comment", author=TEAMMATE, body=ANSWER, translations=translations))


def priority(now: int) -> Item:
    """Return a conversation that has become urgent."""
    return {**changed(now, kind="priority_changed", author=TEAMMATE), "priority": "priority"}


def rated(now: int) -> Item:
    """Return a closed conversation and what the contact thinks of it."""
    rating = {
        "rating": 5,
        "remark": "Quick and clear",
        "created_at": now,
        "contact": {"type": "contact", "id": CONTACT_ID, "external_id": "user-12345"},
        "teammate": {"type": "admin", "id": str(ADMIN_ID)},
    }
    return conversation(now, state="closed", conversation_rating=rating)


def redacted(now: int) -> Item:
    """Return a conversation with the one part that was redacted."""
    body = "<p><i>This message was deleted</i></p>"
    return conversation(now, part(now, "comment", author=TEAMMATE, body=body, redacted=True))


def tagged(now: int) -> Item:
    """Return a conversation with the one part that was tagged."""
    tags = {"type": "tag.list", "tags": [{**TAG}]}
    item = conversation(now, part(now, "comment", author=CUSTOMER, body=QUESTION, tags=[{**TAG}]), tags=tags)
    return {**item, "tags_added": {"type": "tag.list", "tags": [{**TAG}]}}


def with_company(now: int) -> Item:
    """Return a conversation that is about a company now."""
    return {**conversation(now), "company": {"type": "company", "id": COMPANY_ID}}


def deleted(now: int) -> Item:
    """Return what is left of a conversation; note that it has no ``id``."""
    return {"type": "conversation", "conversation_id": CONVERSATION_ID}


def conversation_and_contact(now: int, *, verb: str) -> Item:
    """Return a contact and a conversation as Intercom keeps it inside; the item itself has no type."""
    actor = {"type": "admin", "id": ADMIN_ID, "label": "Ines", "name": "Ines Okafor", "email": "ines@example.com"}
    person = {"type": "user", "id": CONTACT_ID, "label": "Noor Haddad", "name": "Noor Haddad"}
    happened = {
        f"{verb}_by": actor,
        "participant": {**person, "email": "noor@example.com"},
        "previous_state": "state_open",
        "state": "state_open",
        "created_at_with_precision": iso(now),
        "admin": {"type": "admin", "id": ADMIN_ID, "label": "Ines Okafor"},
    }
    inner_part = {
        "id": 38114902766,
        "app_id": 4410982,
        "conversation_id": int(CONVERSATION_ID),
        "body": "",
        "created_at": iso_z(now),
        "updated_at": iso_z(now),
        "owner_id": ADMIN_ID,
        "closer": False,
        "admin_only": False,
        "user_id": None,
        "url": None,
        "ua": None,
        "emailed": False,
        "markdown": True,
        "assignee_id": None,
        "opener": False,
        "channel": -1,
        "deleted": False,
        "json_blocks": "[]",
        "rule_id": None,
        "data": json.dumps(happened, separators=(",", ":")),
        "unauthenticated": None,
        "facebook_message_id": None,
        "client_assigned_uuid": None,
        "external_source_id": None,
        "identity_verified": None,
    }
    model = {
        "app_id": 4410982,
        "id": int(CONVERSATION_ID),
        "user_id": CONTACT_ID,
        "message_id": 3420087715,
        "created_at": iso_z(now - 300),
        "updated_at": iso_z(now),
        "company_id": "-1",
        "message_version_id": None,
        "message_variation_id": 0,
        "message_type": "conversation",
        "read": False,
        "read_at": iso_z(now - 60),
        "latest_user_visible_comment_at": iso_z(now),
        "latest_admin_visible_comment_at": iso_z(now),
        "first_opened_at": iso_z(now - 300),
        "first_user_comment_at": iso_z(now - 300),
        "message_subclass_type": 3,
        "deleted": False,
        "original_user_id": "-1",
        "dismissed": False,
        "delivery_state": "delivered",
        "sent_at": iso_z(now - 300),
        "initiator_id": None,
        "initiator_type": None,
        "initial_channel": 2,
        "current_channel": 2,
    }
    return {
        "conversation": {"parts": [inner_part], "options": {"expand_for_notification": True}, "model": model},
        "contact": contact(now, attached=True),
    }


ITEMS: Final[dict[str, ItemMaker]] = {
    "conversation.admin.assigned": partial(changed, kind="assignment", author=TEAMMATE),
    "conversation.admin.closed": partial(changed, kind="close", author=TEAMMATE, state="closed"),
    "conversation.admin.noted": partial(changed, kind="note", author=TEAMMATE, body="<p>Asked sales about terms.</p>"),
    "conversation.admin.open.assigned": partial(changed, kind="assignment", author=TEAMMATE),
    "conversation.admin.opened": partial(changed, kind="open", author=TEAMMATE),
    "conversation.admin.replied": partial(changed, kind="comment", author=TEAMMATE, body=ANSWER),
    "conversation.admin.replied.translated": translated,
    "conversation.admin.single.created": partial(conversation, by_admin=True),
    "conversation.admin.snoozed": snoozed,
    "conversation.admin.unsnoozed": partial(changed, kind="unsnoozed", author=TEAMMATE),
    "conversation.company.updated": with_company,
    "conversation.contact.attached": partial(conversation_and_contact, verb="added"),
    "conversation.contact.detached": partial(conversation_and_contact, verb="removed"),
    "conversation.deleted": deleted,
    "conversation.operator.replied": partial(changed, kind="comment", author=FIN, body=ANSWER),
    "conversation.priority.updated": priority,
    "conversation.rating.added": rated,
    "conversation.read": partial(changed, kind="comment", author=TEAMMATE, body=ANSWER),
    "conversation.user.created": started,
    "conversation.user.replied": partial(changed, kind="comment", author=CUSTOMER, body="<p>Found it, thank you!</p>"),
    "conversation_part.redacted": redacted,
    "conversation_part.tag.created": tagged,
}
