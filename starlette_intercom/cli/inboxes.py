"""An inbox by its URL, for the commands that look into one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, TypeAlias

import anyio
import typer

from ..inbox.contract import Inbox
from ..inbox.sqlite import SQLiteInbox
from ..inbox.urls import inbox_from_url
from .exits import UNREACHABLE, CommandError

_PATIENCE: Final = 10.0  # seconds

InboxOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--inbox", help="URL of the inbox; INTERCOM_INBOX where not given.", show_default=False),
]


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[Inbox]:
    """Open the inbox of a URL, which must be there already.

    Args:
        url: of the inbox; the environment's ``INTERCOM_INBOX`` where not given.

    Raises:
        CommandError: there is no URL, or no inbox at it.
    """
    url = url or os.environ.get("INTERCOM_INBOX", "")
    if not url:
        raise CommandError("Name the inbox: --inbox sqlite:///intercom.db, or set INTERCOM_INBOX.")
    inbox = inbox_from_url(url)
    if not inbox.durable:
        raise CommandError("An inbox in memory can only be seen by its own process: name a durable one.")
    _refuse_missing_file(inbox)
    with anyio.move_on_after(_PATIENCE) as patience:
        await inbox.open()
    if patience.cancelled_caught:
        raise CommandError(f"The inbox did not answer within {_PATIENCE:g} s.", UNREACHABLE)
    try:
        yield inbox
    finally:
        with anyio.CancelScope(shield=True):
            await inbox.close()


def _refuse_missing_file(inbox: Inbox) -> None:
    """An inbox makes the file that it does not find, which would hide a misspelt path."""
    if isinstance(inbox, SQLiteInbox) and not inbox.path.exists():
        raise CommandError("There is no such SQLite file. An absolute path has four slashes: sqlite:////srv/app.db")
