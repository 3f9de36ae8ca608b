"""JSON bytes become a value of a user's type: by msgspec, or by pydantic for its models."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from .errors import InvalidNotification

T = TypeVar("T")


@lru_cache(maxsize=256)
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast("type[Any]", kind))


def decode_as(raw: bytes | msgspec.Raw, kind: type[T], *, field: str) -> T:
    """Decode JSON into ``kind``.

    Args:
        raw: the JSON text.
        kind: a type that msgspec knows, or a pydantic model.
        field: the path of this JSON in its document, for the error.

    Raises:
        InvalidNotification: it does not fit. The error names the field and holds no value of it.
    """
    if hasattr(kind, "model_validate_json"):
        return cast("T", _decode_pydantic(raw, kind, field))
    try:
        return cast("T", _decoder(cast("Hashable", kind)).decode(raw))
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        # Only the kind of mismatch: msgspec quotes the offending value of an enum.
        raise InvalidNotification(
            f"{field}{where.rstrip('`')}: {what.partition(' value ')[0]}", field=field + where.rstrip("`")
        ) from None
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise InvalidNotification(f"{field}: not valid JSON", field=field) from None


def _decode_pydantic(raw: bytes | msgspec.Raw, model: Any, field: str) -> Any:
    try:
        return model.model_validate_json(bytes(raw))
    except ValueError as error:  # pydantic's ValidationError is one; only it has .errors()
        problems = error.errors(include_input=False, include_url=False) if hasattr(error, "errors") else []
        first = problems[0] if problems else {"loc": (), "msg": "does not fit"}
        where = ".".join([field, *map(str, first["loc"])])
        raise InvalidNotification(f"{where}: {first['msg']}", field=where) from None
