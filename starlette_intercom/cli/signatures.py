"""``sign`` and ``verify``: signatures over the exact bytes of a file."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import typer

from ..receiving.signature import BODY_SIGNATURE, FIN_SIGNATURE, HUB_SIGNATURE, has_shape
from ..receiving.signature import sign as sign_body
from ..receiving.signature import verify as verify_body
from .credentials import SecretOption, client_secrets
from .exits import FAILED, OK
from .files import read_bytes
from .output import say, say_json


class Scheme(StrEnum):
    """What is signed, as it is named on the command line."""

    WEBHOOK = "webhook"
    CANVAS_KIT = "canvas-kit"
    FIN = "fin"


_SCHEMES: Final = {
    Scheme.WEBHOOK: HUB_SIGNATURE,
    Scheme.CANVAS_KIT: BODY_SIGNATURE,
    Scheme.FIN: FIN_SIGNATURE,
}

_File: TypeAlias = Annotated[str, typer.Argument(help="The body; - reads standard input.")]
_Scheme: TypeAlias = Annotated[
    Scheme,
    typer.Option(help="Webhooks; Canvas Kit, health checks and uninstalls; or Fin's events."),
]
_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="A JSON object instead of a sentence.")]


def sign(file: _File, secret: SecretOption = None, scheme: _Scheme = Scheme.WEBHOOK, json: _Json = False) -> int:
    """Print the header that Intercom would send with a body."""
    chosen = _SCHEMES[scheme]
    signature = sign_body(read_bytes(file), client_secrets(secret)[0], chosen)
    if json:
        say_json({"header": chosen.header, "signature": signature})
    else:
        say(f"{chosen.header}: {signature}")
    return OK


def verify(
    file: _File,
    signature: Annotated[str, typer.Option(help="The header's value, or the whole header.")],
    secret: SecretOption = None,
    scheme: _Scheme = Scheme.WEBHOOK,
    json: _Json = False,
) -> int:
    """Check a signature over a body: exit code 0 if it is valid, 1 if not."""
    chosen = _SCHEMES[scheme]
    body, secrets = read_bytes(file), client_secrets(secret)
    value = signature.strip()
    name, colon, rest = value.partition(":")
    if colon and name.strip().lower() == chosen.header.lower():
        value = rest.strip()
    matched = verify_body(body, value, secrets, chosen)
    if json:
        say_json({"valid": matched is not None, "secret": matched, "bytes": len(body)})
    elif matched is not None:
        say(f"Valid: signed with secret {matched}, over {len(body)} bytes.", "green")
    elif not has_shape(value.encode(), chosen):
        digits = 40 if chosen.algorithm == "sha1" else 64
        say(f"Invalid: {chosen.header} is {chosen.prefix!r} and {digits} hexadecimal digits in lower case.", "red")
    elif verify_body(body.rstrip(b"\r\n"), value, secrets, chosen) is not None:
        say("Invalid, but valid without the line break at the end: it was added after signing.", "red")
    else:
        say(
            f"Invalid over these {len(body)} bytes: another secret, or the body was changed, perhaps re-encoded.", "red"
        )
    return OK if matched is not None else FAILED
