"""An event becomes the bytes that Intercom takes, or an `InvalidEvent` that says why not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import msgspec

from ..errors import InvalidEvent
from .event import Event, MetadataValue, Money, RichLink

MAX_METADATA_KEYS = 10

# Seconds beyond this are the year 5138: milliseconds that were passed as seconds.
_MAX_SECONDS = 100_000_000_000

# More than 10^15 of any currency is a mistake, and a short text such as 1E+999999 would fill the memory.
_MAX_DIGITS = 15

# Intercom counts cents. What it makes of an amount in a currency without hundredths is not documented, so an exact
# conversion is not ours to promise.
_OTHER_CURRENCIES = "bif clp djf gnf isk jpy kmf krw pyg rwf ugx vnd vuv xaf xof xpf bhd iqd jod kwd lyd omr tnd"
_NOT_IN_HUNDREDTHS = frozenset(_OTHER_CURRENCIES.split())

_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """Validate an event and write it as the body of a request.

    Args:
        event: the event, with any content.

    Returns:
        The JSON body, the same for every try.

    Raises:
        InvalidEvent: names the field and what is wrong with it.
    """
    if not isinstance(event, Event):
        raise InvalidEvent("event", f"takes an Event, not {_kind(event)}")
    body: dict[str, object] = {
        "event_name": check_text("name", event.name),
        "created_at": unix_seconds("created_at", event.created_at),
    }
    key, value = contact_key(event.user_id, event.id, event.email)
    body[key] = value
    if event.metadata:
        body["metadata"] = _metadata(event.metadata)
    try:
        return _encoder.encode(body)
    except UnicodeEncodeError:
        raise InvalidEvent(_unencodable(body), "contains a lone surrogate, which is no character") from None


def decode_event(body: bytes) -> Event:
    """Read back what `encode_event` has written.

    Args:
        body: the JSON body.

    Returns:
        An event that is encoded to the same body. Times in its metadata are whole seconds.
    """
    fields = msgspec.json.decode(body, type=dict[str, Any])
    metadata = {key: _read_value(value) for key, value in fields.pop("metadata", {}).items()}
    return Event(fields.pop("event_name"), metadata=metadata or None, **fields)


def contact_key(user_id: str | None, id: str | None, email: str | None) -> tuple[str, str]:
    """Tell which contact is meant.

    Args:
        user_id: the contact's external id.
        id: Intercom's id of the contact.
        email: the contact's email address.

    Returns:
        The one key that was given, and its value.

    Raises:
        InvalidEvent: none or several were given, or the value is no text.
    """
    given = [(k, v) for k, v in (("user_id", user_id), ("id", id), ("email", email)) if v is not None]
    if len(given) != 1:
        got = " and ".join(k for k, _ in given) or "none of them"
        raise InvalidEvent("user_id", f"give exactly one of user_id, id and email (got {got})")
    key, value = given[0]
    return key, check_text(key, value)


def unix_seconds(field: str, value: object) -> int:
    """Read a point in time.

    Args:
        field: the name to use in the error.
        value: Unix seconds, or an aware ``datetime``.

    Returns:
        Unix seconds.

    Raises:
        InvalidEvent: a naive ``datetime``, milliseconds, or no time at all.
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidEvent(field, "is a datetime without a time zone; give it one, e.g. datetime.now(UTC)")
        value = math.floor(value.timestamp())
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidEvent(field, f"takes whole Unix seconds or an aware datetime, not {_kind(value)}")
    if value > _MAX_SECONDS:
        raise InvalidEvent(field, "looks like milliseconds; Intercom takes seconds (divide by 1000)")
    if value < 0:
        raise InvalidEvent(field, "is before 1970")
    return int(value)


def money_cents(field: str, money: Money) -> dict[str, object]:
    """Write an amount of money as Intercom takes it.

    Args:
        field: the name to use in the error.
        money: the amount and its currency.

    Returns:
        ``amount`` in whole cents and ``currency`` in lower case.

    Raises:
        InvalidEvent: the amount is negative or not exact, or the currency is no three letters.
    """
    currency, amount = money.currency, money.amount
    if not (len(check_text(f"{field}.currency", currency)) == 3 and currency.isascii() and currency.isalpha()):
        raise InvalidEvent(f"{field}.currency", "takes the three letters of a currency, such as 'eur'")
    currency = currency.lower()
    if isinstance(amount, Decimal):
        if not amount.is_finite():
            raise InvalidEvent(f"{field}.amount", "is not a finite number")
        if currency in _NOT_IN_HUNDREDTHS:
            raise InvalidEvent(f"{field}.amount", f"{currency} has no hundredths; pass the integer that you want sent")
        if amount.adjusted() > _MAX_DIGITS:
            raise InvalidEvent(f"{field}.amount", "is more money than there is")
        numerator, denominator = amount.as_integer_ratio()
        cents, rest = divmod(numerator * 100, denominator)
        if rest:
            raise InvalidEvent(f"{field}.amount", "has fractions of a cent; round it first")
        amount = cents
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise InvalidEvent(f"{field}.amount", f"takes whole cents or a Decimal, not {_kind(amount)}")
    if amount < 0:
        raise InvalidEvent(f"{field}.amount", "is negative")
    return {"amount": int(amount), "currency": currency}


def _metadata(metadata: Mapping[str, MetadataValue]) -> dict[str, object]:
    if not isinstance(metadata, Mapping):
        raise InvalidEvent("metadata", f"takes a mapping, not {_kind(metadata)}")
    if len(metadata) > MAX_METADATA_KEYS:
        dropped = ", ".join(str(key) for key in list(metadata)[MAX_METADATA_KEYS:])
        raise InvalidEvent(
            "metadata", f"has {len(metadata)} keys; Intercom keeps {MAX_METADATA_KEYS} and would drop: {dropped}"
        )
    return {
        check_text("metadata key", key): _value(f"metadata.{key}", str(key), value) for key, value in metadata.items()
    }


def _value(field: str, key: str, value: object) -> object:
    """Check one value of the metadata and reduce it to what JSON knows."""
    if key.endswith("_date"):
        return unix_seconds(field, value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise InvalidEvent(field, "is a whole number beyond 64 bits; pass it as a string")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidEvent(field, "is not a finite number")
        return float(value)
    if isinstance(value, Money):
        return money_cents(field, value)
    if isinstance(value, RichLink):
        if not check_text(f"{field}.url", value.url).lower().startswith(("http://", "https://")):
            raise InvalidEvent(f"{field}.url", "takes an http:// or https:// address")
        return {"url": value.url, "value": check_text(f"{field}.value", value.value)}
    if isinstance(value, datetime):
        raise InvalidEvent(field, "is a time: its key must end with _date")
    if isinstance(value, Decimal):
        raise InvalidEvent(field, "is a Decimal: use Money(amount, currency), a string or a float")
    if isinstance(value, Mapping | list | tuple | set):
        raise InvalidEvent(field, "is nested: metadata is flat apart from Money and RichLink")
    raise InvalidEvent(field, f"takes a string, number, boolean, Money or RichLink, not {_kind(value)}")


def _read_value(value: Any) -> MetadataValue:
    if isinstance(value, dict):
        return Money(**value) if "amount" in value else RichLink(**value)
    return cast("MetadataValue", value)


def check_text(field: str, value: object) -> str:
    """Check a text that must say something.

    Args:
        field: the name to use in the error.
        value: the text.

    Returns:
        The text.

    Raises:
        InvalidEvent: it is no string, or empty.
    """
    if not isinstance(value, str):
        raise InvalidEvent(field, f"takes a string, not {_kind(value)}")
    if not value or value.isspace():
        raise InvalidEvent(field, "is empty")
    return str.__str__(value)


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _unencodable(body: Mapping[str, object], prefix: str = "") -> str:
    """Find the text that made the encoder fail."""
    for key, value in body.items():
        if isinstance(value, dict):
            found = _unencodable(value, f"{key}.")
            if found:
                return found
        elif isinstance(value, str) and _has_surrogate(value):
            return prefix + {"event_name": "name"}.get(key, key)
    return "" if prefix else "metadata key"


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
