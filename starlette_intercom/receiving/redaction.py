"""What is stored in place of the item that Intercom sent, where the user wants it so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from .. import messages
from ..notification import Notification, VerifiedBody, VerifiedNotification

RedactFunction = Callable[[Notification[Any]], object]
"""A user's function of a notification: what is stored as its item, anything that msgspec encodes as JSON."""

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class NotRedacted(Exception):
    """There is nothing that may be stored; the text is for the log, and holds no payload."""


def redacted(notification: VerifiedNotification, redact: RedactFunction) -> VerifiedNotification:
    """Return a notification as it is to be stored: with what ``redact`` returns as its item.

    Every other value stays byte for byte as it came. Of a key that comes twice only the last value is kept, which is
    the one that counts everywhere else: the item of an earlier one was shown to nobody who could redact it.

    Args:
        notification: as it came; stays as it is, unless ``redact`` changes the decoded item.
        redact: the user's function.

    Raises:
        NotRedacted: the function raised, or returned what cannot be stored.
    """
    try:
        item = redact(notification)
    except Exception as error:
        raise NotRedacted(messages.redact_raised(error)) from None
    try:
        if item is None and notification.item is not None:  # a forgotten return would erase everything
            raise NotRedacted(messages.REDACTED_TO_NOTHING)
        envelope = _decode_members(notification.raw)
        data: dict[str, object] = {**_decode_members(envelope["data"]), "item": item}
        body = msgspec.json.encode({**envelope, "data": data})
        return VerifiedNotification(VerifiedBody(body, notification.secret_name))
    except NotRedacted:
        raise
    except Exception as error:  # its text may quote the item
        raise NotRedacted(messages.redacted_unusable(item, error)) from None
