"""Items in the shape of API 1.x, which apps that never moved on still get; ``visitor.signed_up`` has it to this day."""

from __future__ import annotations

from functools import partial
from typing import Final

from .kinds import WORKSPACE, Item, ItemMaker
from .people import CONTACT_ID, LEAD_ID, TAG
from .times import iso


def user(now: int) -> Item:
    """Return a user."""
    return {
        "type": "user",
        "id": CONTACT_ID,
        "user_id": "user-12345",
        "anonymous": False,
        "email": "noor@example.com",
        "phone": None,
        "name": "Noor Haddad",
        "pseudonym": None,
        "avatar": {"type": "avatar", "image_url": None},
        "app_id": WORKSPACE,
        "companies": {"type": "company.list", "companies": []},
        "location_data": {
            "type": "location_data",
            "city_name": "Amsterdam",
            "continent_code": "EU",
            "country_name": "Netherlands",
            "postal_code": "1012",
            "region_name": "North Holland",
            "timezone": "Europe/Amsterdam",
            "country_code": "NLD",
            "latitude": None,
            "longitude": None,
        },
        "last_request_at": iso(now),
        "created_at": iso(now),
        "remote_created_at": iso(now),
        "signed_up_at": iso(now),
        "updated_at": iso(now),
        "session_count": 1,
        "social_profiles": {"type": "social_profile.list", "social_profiles": []},
        "owner_id": None,
        "unsubscribed_from_emails": False,
        "marked_email_as_spam": False,
        "has_hard_bounced": False,
        "tags": {"type": "tag.list", "tags": []},
        "segments": {"type": "segment.list", "segments": []},
        "custom_attributes": {},
        "referrer": "https://www.example.com/pricing",
        "utm_campaign": None,
        "utm_content": None,
        "utm_medium": None,
        "utm_source": None,
        "utm_term": None,
        "do_not_track": None,
        "last_seen_ip": None,
        "user_agent_data": None,
    }


def lead(now: int, *, signed_up: bool = False) -> Item:
    """Return a lead, which API 1.x calls a contact."""
    return {
        **user(now),
        "type": "contact",
        "id": LEAD_ID,
        "user_id": "0b7f6c5e-58d1-4f0c-9f3e-6f1f0a7d2c11",
        "anonymous": not signed_up,
        "email": "visitor@example.com",
        "name": None,
        "pseudonym": "Amber Teapot from Amsterdam",
        "remote_created_at": None,
        "signed_up_at": iso(now) if signed_up else None,
    }


def visitor(now: int) -> Item:
    """Return the user that a visitor has become."""
    return {**user(now), "pseudonym": "Amber Teapot from Amsterdam"}


def unsubscribed_user(now: int) -> Item:
    """Return a user that wants no email any more."""
    return {**user(now), "unsubscribed_from_emails": True}


def deleted_user(now: int) -> Item:
    """Return what is left of a user."""
    return {"type": "user", "id": CONTACT_ID, "user_id": "user-12345", "email": "noor@example.com"}


def user_tag(now: int, *, tagged: bool) -> Item:
    """Return a tag and the user that has it or had it."""
    tags = [{"type": "tag", "id": TAG["id"]}] if tagged else []
    return {
        "type": "user_tag",
        "user": {**user(now), "tags": {"type": "tag.list", "tags": tags}},
        "tag": {**TAG},
        "created_at": now,
        "admin": {"type": "admin"},
    }


def lead_tag(now: int, *, tagged: bool) -> Item:
    """Return a tag and the lead that has it or had it."""
    tags = [{"type": "tag", "id": TAG["id"]}] if tagged else []
    return {
        "type": "contact_tag",
        "created_at": now,
        "tag": {**TAG},
        "contact": {**lead(now), "tags": {"type": "tag.list", "tags": tags}},
    }


ITEMS: Final[dict[str, ItemMaker]] = {
    "contact.added_email": lead,
    "contact.created": lead,
    "contact.signed_up": partial(lead, signed_up=True),
    "contact.tag.created": partial(lead_tag, tagged=True),
    "contact.tag.deleted": partial(lead_tag, tagged=False),
    "user.created": user,
    "user.deleted": deleted_user,
    "user.email.updated": user,
    "user.tag.created": partial(user_tag, tagged=True),
    "user.tag.deleted": partial(user_tag, tagged=False),
    "user.unsubscribed": unsubscribed_user,
    "visitor.signed_up": visitor,
}
