"""Dead letters in words, and as JSON."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ..inbox.contract import DeadLetter
from .exits import CommandError
from .output import printable, time_of

_SECONDS_OF = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def as_fields(letter: DeadLetter, *, payload: bool = False) -> dict[str, Any]:
    """Return a dead letter as plain values.

    Args:
        letter: the dead letter.
        payload: whether to add what Intercom sent, as ``notification``.
    """
    fields: dict[str, Any] = {
        "id": letter.id,
        "topic": letter.topic,
        "app_id": letter.notification.app_id,
        "created_at": letter.notification.created_at,
        "first_seen": letter.first_seen,
        "died_at": letter.died_at,
        "attempts": letter.attempts,
        "handlers": letter.handlers,
        "done": sorted(letter.done),
        "failures": letter.failures,
    }
    if payload:
        fields["notification"] = msgspec.Raw(letter.notification.raw)
    return fields


def lines_of(letter: DeadLetter, *, payload: bool = False) -> list[str]:
    """Describe a dead letter to people."""
    lines = [
        f"id          {printable(letter.id)}",
        f"topic       {printable(letter.topic)}",
        f"workspace   {printable(letter.notification.app_id)}",
        f"created     {time_of(letter.notification.created_at)}",
        f"first seen  {time_of(letter.first_seen)}",
        f"died        {time_of(letter.died_at)}, after {letter.attempts} attempts",
        f"failed      {printable(', '.join(letter.handlers) or '(no handler)')}",
        f"succeeded   {printable(', '.join(sorted(letter.done)) or '(none)')}",
    ]
    for failure in letter.failures:
        what = f"{failure.handler}: {failure.error}: {failure.message}"
        lines += ["", f"attempt {failure.attempt}, {time_of(failure.at)}, {printable(what)}"]
        lines += [f"    {printable(line)}" for line in failure.traceback.splitlines()]
    if payload:
        text = msgspec.json.format(letter.notification.raw, indent=2).decode("utf-8", "replace")
        lines += ["", *map(printable, text.splitlines())]
    return lines


def duration(text: str) -> float:
    """Read a length of time, such as ``12h``, as seconds.

    Raises:
        CommandError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        raise CommandError(f"{text!r} is no length of time: write 90s, 30m, 12h or 7d.")
    return float(found[1]) * _SECONDS_OF[found[2]]


def every(count: int) -> str:
    """Count dead letters in words."""
    return "1 dead letter" if count == 1 else f"{count} dead letters"
