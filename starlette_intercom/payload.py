"""JSON bytes become a value of a user's type: by msgspec, or by pydantic for its models."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

import msgspec

from .errors import ConfigurationError, InvalidNotification

T = TypeVar("T")

_QUOTED_VALUE: Final = re.compile(r"(?<=^Invalid value) .*|(?<=^Invalid enum value) .*", re.DOTALL)


@lru_cache(maxsize=256)
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast("type[Any]", kind))


def check_kind(kind: object) -> None:
    """Refuse what JSON cannot be decoded into. A type with annotations that are not defined yet passes.

    Raises:
        ConfigurationError: it is no type, or none that msgspec knows.
    """
    if hasattr(kind, "model_validate_json"):
        return
    try:
        _decoder(kind)
    except NameError:
        pass  # defined further down in the user's module
    except TypeError as error:
        raise ConfigurationError(f"item must be a type that msgspec knows, or a pydantic model: {error}") from None


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
        what, _, where = str(error).partition(" - at `")
        # "`$.path`", or "`key` in `$.path`"; nothing where the whole does not fit
        path = field + where.rpartition("$")[2].rstrip("`")
        raise InvalidNotification(f"{path}: {_QUOTED_VALUE.sub('', what)}", field=path) from None
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise InvalidNotification(f"{field}: not valid JSON", field=field) from None


def has_value(raw: bytes | msgspec.Raw, value: str) -> bool:
    """Tell whether a text is one of the values in some JSON, at any depth; numbers count as their digits."""
    try:
        unseen = [_decoder(object).decode(raw)]
    except (msgspec.DecodeError, RecursionError, ValueError):
        return value.encode("utf-8", "surrogatepass") in bytes(raw)  # rather once too often
    while unseen:
        found = unseen.pop()
        if isinstance(found, dict):
            unseen.extend(found.values())
        elif isinstance(found, list):
            unseen.extend(found)
        elif (isinstance(found, str) and found == value) or (type(found) is int and str(found) == value):
            return True
    return False


def _decode_pydantic(raw: bytes | msgspec.Raw, model: Any, field: str) -> Any:
    try:
        return model.model_validate_json(bytes(raw))
    except ValueError as error:  # pydantic's ValidationError is one; only it has .errors()
        problems = error.errors(include_input=False, include_url=False) if hasattr(error, "errors") else []
        first = problems[0] if problems else {"type": "", "loc": (), "msg": "does not fit"}
        where = ".".join([field, *map(str, first["loc"])])
        # The one message of pydantic's that quotes the value.
        what = "Input tag is none of those expected" if first["type"] == "union_tag_invalid" else first["msg"]
        raise InvalidNotification(f"{where}: {what}", field=where) from None
