"""Lines become events, the same each time they are read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from starlette_intercom import Event, Money, RichLink
from starlette_intercom.cli.event_lines import Format, Line, read_lines
from starlette_intercom.cli.exits import CommandError

NOW = 1_760_000_000


def read(text: str, format: Format = Format.NDJSON) -> list[Line]:
    return list(read_lines(text.splitlines(keepends=True), format, started_at=NOW))


def event_of(line: Line) -> Event:
    assert isinstance(line.event, Event), line.event
    return line.event


def test_json_lines() -> None:
    lines = read(
        '{"event_name": "placed-order", "user_id": "u1", "created_at": 1750000000, "metadata": {"items": 3,'
        ' "total": {"amount": 34999, "currency": "eur"}, "order": {"url": "https://e.test", "value": "7"}}}\n'
        "\n"
        '{"name": "viewed-page", "email": "a@e.test", "created_at": "2026-05-01T12:00:00+02:00"}\n'
    )
    assert [line.number for line in lines] == [1, 2]
    first, second = map(event_of, lines)
    assert (first.name, first.user_id, first.created_at) == ("placed-order", "u1", 1_750_000_000)
    assert first.metadata == {"items": 3, "total": Money(34999, "eur"), "order": RichLink("https://e.test", "7")}
    assert (second.email, second.created_at) == ("a@e.test", datetime(2026, 5, 1, 10, tzinfo=UTC))


def test_csv() -> None:
    text = (
        "event_name,user_id,email,created_at,metadata.items,metadata.code,metadata.paid,metadata.note\r\n"
        'placed-order,u1,,1750000000,3,007,true,"two\nlines"\r\n'
        "placed-order,,a@e.test,,2.50,,,-\r\n"
    )
    first, second = map(event_of, read(text, Format.CSV))
    assert (first.user_id, first.email, first.created_at) == ("u1", None, 1_750_000_000)
    assert first.metadata == {"items": 3, "code": "007", "paid": True, "note": "two\nlines"}
    assert (second.email, second.created_at, second.metadata) == ("a@e.test", NOW, {"items": 2.5, "note": "-"})


def test_lines_without_a_time_never_collapse_into_one() -> None:
    text = '{"name": "viewed-page", "user_id": "u1"}\n' * 3 + '{"name": "viewed-page", "user_id": "u2"}\n'
    assert [event_of(line).created_at for line in read(text)] == [NOW, NOW + 1, NOW + 2, NOW]


def test_a_time_that_is_given_is_kept_even_if_it_repeats() -> None:
    text = '{"name": "viewed-page", "user_id": "u1", "created_at": 1750000000}\n' * 2
    assert {event_of(line).created_at for line in read(text)} == {1_750_000_000}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "no JSON object"),
        ("[1]", "no JSON object"),
        ('{"name": ["x"], "user_id": "u"}', "event_name"),
        ('{"name": "viewed-page"}', "exactly one of user_id, id and email"),
        ('{"name": "viewed-page", "user_id": 5}', "user_id"),
        ('{"name": "viewed-page", "user_id": "u", "created_at": "yesterday"}', "created_at"),
        ('{"name": "viewed-page", "user_id": "u", "plan": "pro"}', "plan"),
        ('{"name": "viewed-page", "user_id": "u", "metadata": {"a": {"b": 1}}}', "metadata.a"),
    ],
)
def test_a_line_that_cannot_be_sent_says_why_and_stops_no_other(line: str, said: str) -> None:
    bad, good = read(f'{line}\n{{"name": "viewed-page", "user_id": "u"}}\n')
    assert isinstance(bad.event, str)
    assert said in bad.event
    assert event_of(good).name == "viewed-page"


def test_a_failure_can_be_read_again() -> None:
    (line,) = read('{"name": "viewed-page", "user_id": "u", "created_at": 1750000000, "line": 5, "error": "no"}\n')
    assert event_of(line).created_at == 1_750_000_000


@pytest.mark.parametrize(
    ("heading", "said"), [("user_id\n", "event_name"), ("event_name,plan\n", "'plan' is unknown"), ("", "event_name")]
)
def test_a_csv_without_the_right_heading(heading: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        read(heading, Format.CSV)


def test_a_csv_with_a_cell_too_many() -> None:
    (line,) = read("event_name,user_id\nviewed-page,u,more\n", Format.CSV)
    assert isinstance(line.event, str)
    assert "too many columns" in line.event
