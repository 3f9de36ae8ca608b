"""What Intercom sent: verified, or read back from the inbox, and typed.

The envelope is decoded at once and cheaply; ``data.item``, which is most of a body, stays raw bytes until a handler
looks at it. Intercom describes the envelope at https://developers.intercom.com/docs/webhooks/webhook-notifications.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, Never, Self, TypeVar

import msgspec

from .errors import InvalidNotification
from .payload import decode_as, has_value

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    # So that a bare `Notification` is complete for type checkers; at run time Python 3.11 has no defaults.
    ItemT = TypeVarWithDefault("ItemT", default=Any)
else:
    ItemT = TypeVar("ItemT")
OtherT = TypeVar("OtherT")

# Seconds that datetime can hold: year 1970 to year 9999.
_UnixSeconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class _Data(msgspec.Struct, frozen=True, gc=False):
    item: msgspec.Raw


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    type: str
    app_id: _Name
    topic: _Name
    data: _Data
    created_at: _UnixSeconds
    id: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    delivery_status: str | None = None
    delivery_attempts: int | None = None
    delivered_at: int | None = None
    first_sent_at: int | None = None


_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode


class VerifiedBody(msgspec.Struct, frozen=True, gc=False):
    """The exact bytes of a request whose signature was verified; only ``SignatureGuard`` makes them.

    Attributes:
        content: the body.
        secret_name: the name of the secret that signed it, so that one sees when an old one is out of use.
    """

    content: bytes
    secret_name: str

    def __repr__(self) -> str:
        return f"<VerifiedBody of {len(self.content)} bytes, signed with {self.secret_name!r}>"


class Notification(Generic[ItemT]):
    """A notification, as handlers get it. It cannot be changed.

    Handlers annotate with ``Notification``, or with ``Notification[Contact]`` where they were registered with
    ``item=Contact``. Its two kinds tell where it comes from: :class:`VerifiedNotification` out of a request whose
    signature was checked, :class:`StoredNotification` out of the inbox.

    Attributes:
        raw: the exact bytes that Intercom sent; with ``Intercom(…, redact=…)`` those that were stored instead.
    """

    __slots__ = ("_envelope", "_item", "raw")

    _envelope: _Envelope
    _item: Any  # UNSET until first use
    raw: bytes

    def __init__(self, raw: bytes, envelope: _Envelope) -> None:
        put = object.__setattr__
        put(self, "raw", raw)
        put(self, "_envelope", envelope)
        put(self, "_item", msgspec.UNSET)

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"A notification cannot be changed: {name!r} is read-only.")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"A notification cannot be changed: {name!r} is read-only.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notification) and type(other) is type(self) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.topic!r} id={self.id!r} app_id={self.app_id!r}>"

    @property
    def id(self) -> str | None:
        """Intercom's id of the notification (``notif_…``); null in pings."""
        return self._envelope.id

    @property
    def topic(self) -> str:
        """Its kind, such as ``conversation.user.created``; the set of topics is open."""
        return self._envelope.topic

    @property
    def app_id(self) -> str:
        """The workspace that it is about: one URL serves every workspace that installed the app."""
        return self._envelope.app_id

    @property
    def created_at(self) -> int:
        """When Intercom made it, in Unix seconds, as given. Notifications arrive in no particular order."""
        return self._envelope.created_at

    @property
    def created(self) -> datetime:
        """``created_at`` as an aware datetime in UTC."""
        return datetime.fromtimestamp(self._envelope.created_at, UTC)

    @property
    def first_sent_at(self) -> int | None:
        """When Intercom first sent it, in Unix seconds, where it says so."""
        return self._envelope.first_sent_at

    @property
    def delivered_at(self) -> int | None:
        """What the envelope says under this key: 0 in every delivery seen so far."""
        return self._envelope.delivered_at

    @property
    def delivery_attempts(self) -> int | None:
        """How often Intercom has tried to deliver it, this time included, where it says so."""
        return self._envelope.delivery_attempts

    @property
    def delivery_status(self) -> str | None:
        """Intercom's own word for the state of its delivery; null in pings."""
        return self._envelope.delivery_status

    @property
    def item(self) -> ItemT:
        """``data.item``: what the notification is about, decoded on first use; each handler gets a copy of its own.

        Raises:
            InvalidNotification: it is not valid JSON below its surface, for example not UTF-8.
        """
        if self._item is msgspec.UNSET:
            object.__setattr__(self, "_item", decode_as(self._envelope.data.item, Any, field="data.item"))
        item: ItemT = self._item
        return item

    def item_as(self, kind: type[OtherT]) -> OtherT:
        """Convert ``data.item`` to a type of your own.

        Args:
            kind: a msgspec struct, dataclass, TypedDict, any other type that msgspec knows, or a pydantic model.

        Raises:
            InvalidNotification: the item does not fit; the error names the field.
        """
        return decode_as(self._envelope.data.item, kind, field="data.item")

    def mentions(self, value: str) -> bool:
        """Tell whether ``value`` stands anywhere in ``data.item``: the id of a contact, say, or an email address."""
        return has_value(self._envelope.data.item, value)

    def with_item(self, item: OtherT) -> StoredNotification[OtherT]:
        """Return the same notification with its item converted."""
        typed: StoredNotification[OtherT] = StoredNotification(self.raw, self._envelope)
        object.__setattr__(typed, "_item", item)
        return typed


class VerifiedNotification(Notification[Any]):
    """A notification straight from a request whose signature was verified.

    Raises:
        InvalidNotification: the body is no notification; the error names the field.
    """

    __slots__ = ("secret_name",)

    secret_name: str

    def __init__(self, body: VerifiedBody) -> None:
        put = object.__setattr__
        put(self, "raw", body.content)
        put(self, "_envelope", _envelope_of(body.content))
        put(self, "_item", msgspec.UNSET)
        put(self, "secret_name", body.secret_name)


class StoredNotification(Notification[ItemT]):
    """A notification that was verified when it came in and has been read back from the inbox."""

    __slots__ = ()

    @classmethod
    def of(cls, verified: VerifiedNotification) -> Self:
        """Take over what was decoded already, for an inbox in the same process."""
        return cls(verified.raw, verified._envelope)

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Decode the bytes that an inbox kept.

        Raises:
            InvalidNotification: they are no notification.
        """
        return cls(raw, _envelope_of(raw))

    def fresh(self) -> Self:
        """Return it with the item as it came: what a handler does to the item must not reach the next one."""
        return self if self._item is msgspec.UNSET else type(self)(self.raw, self._envelope)


def dedupe_key_of(notification: Notification[Any]) -> str:
    """Return what tells two notifications apart: workspace and id, or a digest of the body where the id is null."""
    envelope = notification._envelope
    return f"{envelope.app_id}:{envelope.id or hashlib.sha256(notification.raw).hexdigest()}"


def _envelope_of(raw: bytes) -> _Envelope:
    try:
        envelope = _decode_envelope(raw)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = where.rstrip("`").lstrip(".")
        if "missing required field" in what:
            field = f"{field}.{what.split('`')[-2]}".lstrip(".")
        message = f"Not a notification: {f'{field}: ' if field else ''}{what}"
        raise InvalidNotification(message, field=field) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError):
        raise InvalidNotification("Not a notification: the body is not valid JSON") from None
    if envelope.type != "notification_event":
        raise InvalidNotification("Not a notification: type: Expected `notification_event`", field="type")
    return envelope
