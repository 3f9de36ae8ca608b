"""Lines of a file become events: CSV, or one JSON object a line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from ..events.collisions import Collisions
from ..events.event import Event, MetadataValue, Money, RichLink
from .exits import CommandError

_FIELDS: Final = ("event_name", "name", "user_id", "id", "email", "created_at")
_IGNORED: Final = ("type", "error", "line")  # what an exported event, or a file of failures, has besides
_METADATA: Final = "metadata."
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


class Format(StrEnum):
    """How events are written down."""

    CSV = "csv"
    NDJSON = "ndjson"


class Line(NamedTuple):
    """One line with something in it.

    Attributes:
        number: counted from 1, over the lines with something in them.
        fields: what it says; for the file of failures.
        event: what is sent, or the reason why it cannot be.
    """

    number: int
    fields: Mapping[str, Any]
    event: Event | str


def read_lines(text: Iterable[str], format: Format, *, started_at: int) -> Iterator[Line]:
    """Read events, the same each time: what was sent before a break has the same ``created_at`` after it.

    Lines that name no time get that of the start. Where that would make Intercom take two of them for one, since they
    agree in name and contact as well, the later one gets the next second.

    Args:
        text: the lines of the file.
        format: how they are written.
        started_at: Unix seconds for lines that name no time.

    Raises:
        CommandError: the file is no CSV with a heading for each column.
    """
    spread = Collisions("shift", reach=1_000_000)
    records = _csv_records(text) if format is Format.CSV else _json_records(text)
    for number, fields in enumerate(records, 1):
        event: Event | str
        try:
            event = _event_of(fields, started_at)
            if not fields.get("created_at"):
                event = spread.resolve(event)
        except ValueError as error:  # InvalidEvent is one
            event = str(error)
        yield Line(number, fields, event)


def _json_records(text: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for line in text:
        if line.strip():
            try:
                fields = msgspec.json.decode(line)
            except (ValueError, RecursionError):
                fields = None
            yield fields if isinstance(fields, dict) else {"unreadable": line.rstrip("\r\n")}


def _csv_records(text: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    reader = csv.DictReader(text, restkey="too many columns", restval="")
    columns = reader.fieldnames or []
    unknown = [name for name in columns if name not in _FIELDS + _IGNORED and not _is_metadata(name)]
    if not {"name", "event_name"} & set(columns) or unknown:
        what = f"the column {unknown[0]!r} is unknown" if unknown else "it names no column event_name"
        raise CommandError(
            f"The first line of the CSV must name its columns, but {what}. Known are event_name, user_id, id, email, "
            "created_at, and metadata.… for anything else."
        )
    try:
        for row in reader:
            filled = {name: value for name, value in row.items() if value}
            fields: dict[str, Any] = {name: value for name, value in filled.items() if not _is_metadata(name)}
            metadata = {name[len(_METADATA) :]: _typed(filled[name]) for name in filled if _is_metadata(name)}
            yield {**fields, "metadata": metadata} if metadata else fields
    except csv.Error as error:
        raise CommandError(f"The CSV cannot be read at line {reader.line_num}: {error}.") from None


def _is_metadata(column: str) -> bool:
    return column.startswith(_METADATA)


def _typed(text: str) -> str | int | float | bool:
    """Read a cell: what JSON would take for a number or a boolean is one, so that 007 stays a text."""
    if text in ("true", "false"):
        return text == "true"
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    return float(text) if found[2] else int(text)


def _event_of(fields: Mapping[str, Any], started_at: int) -> Event:
    if "unreadable" in fields:
        raise ValueError("line: is no JSON object")
    unknown = [name for name in fields if name not in (*_FIELDS, *_IGNORED, "metadata")]
    if unknown:
        raise ValueError(f"{unknown[0]}: is unknown; what is of your own goes into metadata")
    name = fields.get("event_name") or fields.get("name") or ""
    if not isinstance(name, str):
        raise ValueError("event_name: takes a string")
    contact = {key: fields[key] for key in ("user_id", "id", "email") if fields.get(key) is not None}
    metadata = fields.get("metadata")
    return Event(
        name,
        **contact,
        created_at=_time_of(fields.get("created_at") or started_at),
        metadata={key: _value(key, value) for key, value in metadata.items()}
        if isinstance(metadata, dict)
        else metadata,
    )


def _time_of(given: Any) -> int | datetime:
    """Read Unix seconds, or a time with its zone as ISO 8601 has it."""
    if isinstance(given, str):
        try:
            return int(given) if given.isdecimal() else datetime.fromisoformat(given)
        except ValueError:
            raise ValueError("created_at: takes Unix seconds, or a time such as 2026-05-01T12:00:00Z") from None
    seconds: int = given  # whatever else it is, the client says what is wrong with it
    return seconds


def _value(key: str, value: Any) -> MetadataValue:
    if isinstance(value, dict):
        if value.keys() == {"amount", "currency"}:
            return Money(**value)
        if value.keys() == {"url", "value"}:
            return RichLink(**value)
        raise ValueError(f"metadata.{key}: is nested: metadata is flat apart from money and rich links")
    known: MetadataValue = value
    return known
