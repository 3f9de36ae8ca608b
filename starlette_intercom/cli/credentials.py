"""Secrets: from an option, from the environment, or from a prompt; never echoed."""

from __future__ import annotations

import os
import sys
from typing import Annotated, TypeAlias

import typer

from .exits import CommandError

SecretOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--secret",
        help="The client secret of your Intercom app. INTERCOM_CLIENT_SECRET keeps it out of the list of processes; "
        "without either, a terminal is asked.",
        show_default=False,
    ),
]


def client_secrets(option: str | None) -> list[str]:
    """Return the client secrets: one, or those that INTERCOM_CLIENT_SECRET separates by commas.

    Raises:
        CommandError: there is none, and nobody to ask.
    """
    if option is not None:
        return [_not_empty(option.strip(), "--secret")]
    given = [secret.strip() for secret in os.environ.get("INTERCOM_CLIENT_SECRET", "").split(",")]
    found = [secret for secret in given if secret]
    return found or [_asked("Client secret", "INTERCOM_CLIENT_SECRET")]


def access_token() -> str:
    """Return the access token from INTERCOM_ACCESS_TOKEN, or from a prompt.

    Raises:
        CommandError: there is none, and nobody to ask.
    """
    return os.environ.get("INTERCOM_ACCESS_TOKEN", "").strip() or _asked("Access token", "INTERCOM_ACCESS_TOKEN")


def _asked(what: str, variable: str) -> str:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(f"{variable} is not set. Find its value in Intercom's Developer Hub, and set it.")
    answer: str = typer.prompt(what, hide_input=True, err=True)
    return _not_empty(answer.strip(), variable)


def _not_empty(secret: str, name: str) -> str:
    if not secret:
        raise CommandError(f"{name} is empty. Is the variable set that it comes from?")
    return secret
