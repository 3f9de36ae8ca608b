"""The command line ``starlette-intercom``; needs the extra ``cli``."""

from __future__ import annotations

import sys
from typing import Final

_EXTRA: Final = ("typer", "rich", "uvicorn")


def main() -> None:
    """Run the command line and exit: the entry point of ``starlette-intercom``."""
    try:
        from .app import run
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        sys.stderr.write(
            f"starlette-intercom: the command line needs {package}, which is not installed. "
            "Install the extra: pip install 'starlette-intercom[cli]'\n"
        )
        sys.exit(2)
    sys.exit(run())
