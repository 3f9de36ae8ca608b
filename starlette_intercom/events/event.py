"""What the app tells Intercom about a contact, as plain values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Money:
    """A monetary amount in an event's metadata.

    Args:
        amount: a whole number of cents, zero or more; or a ``Decimal`` of the currency's main unit, which is
            converted exactly: ``Money(Decimal("349.99"), "eur")`` is ``Money(34999, "eur")``.
        currency: the three letters of ISO 4217, in either case.
    """

    amount: int | Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class RichLink:
    """A link with a text of its own in an event's metadata.

    Args:
        url: an ``http://`` or ``https://`` address.
        value: the text that people see instead of the address.
    """

    url: str
    value: str


MetadataValue = str | bool | int | float | datetime | Money | RichLink
"""What a key of an event's metadata may hold. A time needs a key that ends with ``_date``."""


def _now() -> int:
    return int(time.time())


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a contact did.

    An event is a plain value and may be made with any content: it is validated when it is sent, so that one bad event
    among many does not stop the loop that makes them.

    Args:
        name: a verb in the past tense and a noun, such as ``placed-order``.
        user_id: the contact's external id, which is your id of the user.
        id: Intercom's id of the contact; the only key that leads have.
        email: the contact's email address. Exactly one of ``user_id``, ``id`` and ``email`` is given.
        created_at: when it happened, as Unix seconds or an aware ``datetime``; by default when the ``Event`` is made.
            Intercom takes a second event of the same name, contact and second for a repeat and ignores it.
        metadata: at most 10 keys with flat values.

    Its ``repr`` tells neither contact nor metadata, so that it may be logged.
    """

    name: str
    user_id: str | None = field(default=None, kw_only=True, repr=False)
    id: str | None = field(default=None, kw_only=True, repr=False)
    email: str | None = field(default=None, kw_only=True, repr=False)
    created_at: int | datetime = field(default_factory=_now, kw_only=True)
    metadata: Mapping[str, MetadataValue] | None = field(default=None, kw_only=True, repr=False)
