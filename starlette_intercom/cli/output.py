"""What commands print: tables and colours for people at a terminal, plain lines for everything else.

Results go to standard output, everything said beside them to standard error. What came from outside is printed with
its control characters escaped, so that no payload can steer the terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Never

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from .exits import CLOSED_PIPE


class _Console(Console):
    def on_broken_pipe(self) -> Never:
        """End quietly, as other tools do, when ``| head`` has read enough."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its exit
        raise SystemExit(CLOSED_PIPE)


@cache
def _stdout() -> _Console:
    return _Console(highlight=False, markup=False, emoji=False)


@cache
def _stderr() -> Console:
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def printable(text: object) -> str:
    """Escape what could steer a terminal or break a line apart."""
    given = str(text)
    return given if given.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in given)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def say(text: str, style: str = "") -> None:
    """Print a line of the result.

    Args:
        text: one or several lines.
        style: a style of rich, seen only at a terminal.
    """
    console = _stdout()
    if console.is_terminal:
        console.print(Text(text, style=style), soft_wrap=True)
        return
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        console.on_broken_pipe()


def note(text: str, style: str = "") -> None:
    """Say something beside the result, on standard error."""
    _stderr().print(Text(text, style=style), soft_wrap=True)


def say_json(value: object) -> None:
    """Print one line of JSON for scripts."""
    say(msgspec.json.encode(value).decode())


def say_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table at a terminal; elsewhere one line a row, with tabs between, nothing cut off, and no headings."""
    console = _stdout()
    if not console.is_terminal:
        for row in rows:
            say("\t".join(printable(cell) for cell in row))
        return
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0.0:.0f}/s")


def progress(*more: str) -> Progress:
    """Make a progress bar with rate and estimate on standard error; it shows nothing where that is no terminal.

    Args:
        more: further columns, in rich's notation.
    """
    console = _stderr()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        *map(TextColumn, more),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def time_of(seconds: float) -> str:
    """Write Unix seconds as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
