"""``demo``: runs the demonstration that comes with the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from .exits import FAILED, OK, CommandError

_PACKAGE: Final = Path(__file__).parents[1]

# In an installed package the examples are inside it, in a checkout they are beside it.
_PLACES: Final = (_PACKAGE / "examples" / "demo.py", _PACKAGE.parent / "examples" / "demo.py")


def demo() -> int:
    """Start the quickstart app on this machine, send it what Intercom would send, and show what happens."""
    script = next((place for place in _PLACES if place.exists()), None)
    if script is None:
        raise CommandError("This installation comes without its examples: reinstall it from a wheel.")
    done = subprocess.run([sys.executable, str(script)], check=False)  # noqa: S603 - our own example
    return OK if done.returncode == 0 else FAILED
