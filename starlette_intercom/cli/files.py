"""Files that are named on the command line; ``-`` is standard input or output."""

from __future__ import annotations

import sys
from pathlib import Path

from .exits import CommandError


def read_bytes(file: str) -> bytes:
    """Read a whole file.

    Raises:
        CommandError: it cannot be read.
    """
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise unusable(file, error) from None


def unusable(file: str, error: OSError) -> CommandError:
    """Say why a file cannot be used."""
    return CommandError(f"{file}: {error.strerror or type(error).__name__}.")
