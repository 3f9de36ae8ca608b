"""Items about people and companies: contacts, companies, teammates, tags and subscriptions.

Each function takes the time of the notification in Unix seconds and returns a fresh item; the keys stand in the order
in which Intercom sends them.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from .kinds import WORKSPACE, Item, ItemMaker
from .times import iso

CONTACT_ID: Final = "66f2a91c07d4be53a81c9e04"
LEAD_ID: Final = "66f2b03d9a6efc1277d05b18"
COMPANY_ID: Final = "66f2a8e1d350c4927ab6f031"
ADMIN_ID: Final = 7301442
TAG: Final = {"type": "tag", "id": "9417360", "name": "Trial ends soon"}


def page(contact_id: str, name: str, data: list[Any]) -> Item:
    """Return one of the lists inside a contact."""
    url = f"/contacts/{contact_id}/{name}"
    return {"type": "list", "data": data, "url": url, "total_count": len(data), "has_more": False}


def contact(now: int, *, role: str = "user", attached: bool = False) -> Item:
    """Return a user or a lead as API 2.x writes them; one that was attached to something has one key more."""
    user = role == "user"
    own_id = CONTACT_ID if user else LEAD_ID
    of_device = ("app_name", "app_version", "device", "os_version", "sdk_version", "last_seen_at")
    return {
        "type": "contact",
        "id": own_id,
        "workspace_id": WORKSPACE,
        "external_id": "user-12345" if user else "0b7f6c5e-58d1-4f0c-9f3e-6f1f0a7d2c11",
        "role": role,
        "email": "noor@example.com" if user else "visitor@example.com",
        "phone": "+31201234567" if user else None,
        **({"formatted_phone": "+31 20 123 4567"} if attached else {}),
        "name": "Noor Haddad" if user else None,
        "avatar": None,
        "owner_id": None,
        "social_profiles": {"type": "list", "data": []},
        "has_hard_bounced": False,
        "marked_email_as_spam": False,
        "unsubscribed_from_emails": False,
        "created_at": iso(now),
        "updated_at": iso(now),
        "signed_up_at": iso(now) if user else None,
        "last_seen_at": iso(now),
        "last_replied_at": None,
        "last_contacted_at": None,
        "last_email_opened_at": None,
        "last_email_clicked_at": None,
        "language_override": None,
        "browser": "firefox",
        "browser_version": "143.0",
        "browser_language": "nl",
        "os": "Linux",
        "location": {
            "type": "location",
            "country": "Netherlands",
            "region": "North Holland",
            "city": "Amsterdam",
            "country_code": "NLD",
            "continent_code": "EU",
        },
        **{f"{system}_{key}": None for system in ("android", "ios") for key in of_device},
        "custom_attributes": {"plan": "team", "seats": 12} if user else {},
        "tags": page(own_id, "tags", []),
        "notes": page(own_id, "notes", []),
        "companies": page(
            own_id,
            "companies",
            [{"id": COMPANY_ID, "type": "company", "url": f"/companies/{COMPANY_ID}"}] if user else [],
        ),
        "opted_out_subscription_types": page(own_id, "subscriptions", []),
        "opted_in_subscription_types": page(own_id, "subscriptions", []),
        "utm_campaign": None,
        "utm_content": None,
        "utm_medium": None,
        "utm_source": None,
        "utm_term": None,
        "referrer": "https://www.example.com/pricing",
        "sms_consent": False,
        "unsubscribed_from_sms": False,
        "enabled_push_messaging": None,
    }


def company(now: int) -> Item:
    """Return a company."""
    return {
        "type": "company",
        "id": COMPANY_ID,
        "company_id": "acct-881",
        "app_id": WORKSPACE,
        "name": "Haddad Bicycles",
        "plan_id": None,
        "remote_created_at": None,
        "created_at": iso(now),
        "updated_at": iso(now),
        "last_request_at": None,
        "monthly_spend": 240,
        "session_count": 3,
        "user_count": 1,
        "tag_ids": [],
        "custom_attributes": {"industry": "retail"},
    }


def admin(now: int, *, away: bool = False) -> Item:
    """Return a teammate, whose id is an integer here."""
    return {
        "type": "admin",
        "id": ADMIN_ID,
        "name": "Ines Okafor",
        "email": "ines@example.com",
        "job_title": None,
        "away_mode_enabled": away,
        "away_mode_reassign": False,
        "away_status_reason": "Back on Monday" if away else "",
        "has_inbox_seat": True,
        "team_ids": [5120077],
        "avatar": {"type": "avatar", "image_url": "https://static.example.com/avatars/ines.png"},
    }


def admin_activity(now: int) -> Item:
    """Return an entry of the activity log."""
    return {
        "type": "admin_activity_log_event",
        "id": "3d1b9c60-7e54-4c7a-b6a7-0a0f5be3f9d2",
        "performed_by": {
            "type": "admin",
            "id": str(ADMIN_ID),
            "email": "ines@example.com",
            "ip": "192.0.2.44",
        },
        "metadata": {"enabled": True},
        "created_at": now,
        "activity_type": "ai_inbox_translation_setting_change",
        "activity_description": "Ines Okafor switched translation in the inbox on.",
    }


def merged_contact(now: int) -> Item:
    """Return the contact that remains after a merge."""
    return {**contact(now), "merged_from": {"type": "contact", "id": LEAD_ID}}


def unsubscribed_email_contact(now: int) -> Item:
    """Return a contact that wants no email any more."""
    return {**contact(now), "unsubscribed_from_emails": True}


def contact_tag(now: int, *, role: str, tagged: bool) -> Item:
    """Return a tag and the contact that has it or had it."""
    owner = contact(now, role=role)
    tags = [{"id": TAG["id"], "type": "tag", "url": f"/tags/{TAG['id']}"}] if tagged else []
    return {"type": "contact_tag", "tag": {**TAG}, "contact": {**owner, "tags": page(owner["id"], "tags", tags)}}


def subscription(now: int, *, kind: str) -> Item:
    """Return a contact and the subscription types that it has joined or left."""
    granular = kind.startswith("granular")
    subscriber = unsubscribed_email_contact(now) if kind == "contact_unsubscribe" else contact(now)
    name = {"name": "Product news", "description": "What is new, once a month", "locale": "en"}
    if granular:
        type_id = "2210548"
        listed = [{"id": type_id, "type": "subscription", "url": f"/subscription_types/{type_id}"}]
        key = "opted_in_subscription_types" if kind == "granular_subscribe" else "opted_out_subscription_types"
        subscriber[key] = page(subscriber["id"], "subscriptions", listed)
        types = [
            {
                "type": "subscription",
                "id": type_id,
                "state": "live",
                "consent_type": "opt_in" if kind == "granular_subscribe" else "opt_out",
                "default_translation": {**name},
                "translations": [{**name}],
                "content_types": ["email"],
            }
        ]
    else:
        types = []
    return {
        "type": kind,
        "contact": subscriber,
        "subscription_types": {"type": "list", "data": types},
        "created_at": now,
    }


def company_and_contact(now: int) -> Item:
    """Return a company and a contact side by side: the item itself has no type."""
    return {"company": company(now), "contact": contact(now, attached=True)}


def deleted_company(now: int) -> Item:
    """Return what is left of a company."""
    return {"id": COMPANY_ID, "type": "company", "deleted": True}


def deleted_contact(now: int) -> Item:
    """Return what is left of a contact."""
    return {"id": CONTACT_ID, "external_id": "user-12345", "type": "contact", "deleted": True}


lead: Final = partial(contact, role="lead")

ITEMS: Final[dict[str, ItemMaker]] = {
    "admin.activity_log_event.created": admin_activity,
    "admin.added_to_workspace": admin,
    "admin.away_mode_updated": partial(admin, away=True),
    "admin.logged_in": admin,
    "admin.logged_out": admin,
    "admin.removed_from_workspace": admin,
    "company.contact.attached": company_and_contact,
    "company.contact.detached": company_and_contact,
    "company.created": company,
    "company.deleted": deleted_company,
    "company.updated": company,
    "contact.archive": contact,
    "contact.archived": contact,
    "contact.deleted": deleted_contact,
    "contact.email.updated": contact,
    "contact.lead.added_email": lead,
    "contact.lead.created": lead,
    "contact.lead.signed_up": contact,
    "contact.lead.tag.created": partial(contact_tag, role="lead", tagged=True),
    "contact.lead.tag.deleted": partial(contact_tag, role="lead", tagged=False),
    "contact.lead.updated": lead,
    "contact.merged": merged_contact,
    "contact.subscribed": partial(subscription, kind="contact_subscribe"),
    "contact.unarchive": contact,
    "contact.unsubscribed": partial(subscription, kind="contact_unsubscribe"),
    "contact.user.created": contact,
    "contact.user.tag.created": partial(contact_tag, role="user", tagged=True),
    "contact.user.tag.deleted": partial(contact_tag, role="user", tagged=False),
    "contact.user.updated": contact,
    "granular.subscribe": partial(subscription, kind="granular_subscribe"),
    "granular.unsubscribe": partial(subscription, kind="granular_unsubscribe"),
}
