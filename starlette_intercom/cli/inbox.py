"""``inbox stats``: how an inbox stands."""

from __future__ import annotations

from typing import Annotated

import anyio
import typer

from ..inbox.contract import Stats
from .exits import OK
from .inboxes import opened
from .output import say_json, say_table

inbox = typer.Typer(help="Look into an inbox.", pretty_exceptions_enable=False)


@inbox.callback()
def _group() -> None:
    """Look into an inbox."""


@inbox.command()
def stats(
    url: Annotated[
        str | None, typer.Argument(help="Such as sqlite:///intercom.db; INTERCOM_INBOX where not given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A JSON object instead of a table.")] = False,
) -> int:
    """Count deliveries by their state."""
    found = anyio.run(_read, url)
    if json:
        say_json(found)
        return OK
    rows = [
        ("waiting", found.waiting, f"ready to run, the oldest for {found.oldest_waiting:.1f} s"),
        ("running", found.running, "claimed under a lease"),
        ("scheduled", found.scheduled, "failed, and waiting for their next attempt"),
        ("dead", found.dead, "in the dead letters: see dead list"),
        ("done", found.done, "completed, and still recognised"),
    ]
    say_table(("state", "deliveries", ""), rows)
    return OK


async def _read(url: str | None) -> Stats:
    async with opened(url) as inbox:
        return await inbox.stats()
