"""What an answer of Intercom means: done, try again, or one of the errors."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..errors import (
    ContactNotFound,
    EventApiError,
    EventRejected,
    IntercomUnavailable,
    RateLimited,
    Unauthorized,
)

_MAX_ERRORS = 10
_MAX_TEXT = 300


def is_worth_retrying(status: int) -> bool:
    """Tell whether the same request may succeed later.

    Args:
        status: the answer's HTTP status.

    Returns:
        True for 408, 429 and server errors.
    """
    return status in (408, 429) or status >= 500


def error_of(status: int, body: bytes, *, secret: str = "", reset_after: float | None = None) -> EventApiError:
    """Make the error for an answer that is no success.

    Args:
        status: the answer's HTTP status.
        body: the answer's body; any bytes.
        secret: a text that must not appear in the error even if the answer repeats it: the access token.
        reset_after: seconds until the rate window starts again, where the answer said so.

    Returns:
        The error to raise or to keep.
    """
    codes, messages, request_id = _read_error_list(body, secret)
    said = "; ".join(": ".join(part for part in pair if part) for pair in zip(codes, messages, strict=True))
    text = f"Intercom answered {status}" + (f" ({said})" if said else "")
    codes, messages = tuple(c for c in codes if c), tuple(m for m in messages if m)
    if status == 429:
        return RateLimited(
            text, status=status, codes=codes, messages=messages, request_id=request_id, reset_after=reset_after
        )
    return _class_of(status)(text, status=status, codes=codes, messages=messages, request_id=request_id)


def _class_of(status: int) -> type[EventApiError]:
    if status in (401, 403):
        return Unauthorized
    if status == 404:
        return ContactNotFound
    if is_worth_retrying(status):
        return IntercomUnavailable
    return EventRejected


def _read_error_list(body: bytes, secret: str) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Read codes and messages, pair by pair, from a body that may be anything."""
    try:
        answer = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return (), (), None
    if not isinstance(answer, dict):
        answer = {"errors": answer}
    pairs = [pair for pair in _pairs(answer.get("errors"), secret) if any(pair)][:_MAX_ERRORS]
    request_id = _text(answer.get("request_id"), secret) or None
    return tuple(code for code, _ in pairs), tuple(message for _, message in pairs), request_id


def _pairs(errors: object, secret: str) -> Iterator[tuple[str, str]]:
    if isinstance(errors, dict):
        errors = [errors]
    if isinstance(errors, list):
        for error in errors:
            if isinstance(error, dict):
                yield _text(error.get("code"), secret), _text(error.get("message"), secret)


def _text(value: object, secret: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value)
    if secret:
        text = text.replace(secret, "…")
    return text[:_MAX_TEXT]
