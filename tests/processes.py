"""A process of our own, which can be killed with all that it started, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Process:
    """One place for a process: never more than one of it lives.

    Each starts a session of its own and dies with its whole group, since the workers of an engine have a parent that
    would start them again on its own account.

    Args:
        command: what Python runs as a module, and its arguments.
        environ: variables that it gets beside our own.
        log: the file to which everything that it says is appended; nowhere where not given.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], *, log: Path | None = None) -> None:
        self._command = command
        self._environ = {**os.environ, **environ, "PYTHONPATH": str(ROOT)}
        self._log = log or Path(os.devnull)

    def start(self, **environ: str) -> None:
        """Start it, with more variables for this one time."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._command],
                cwd=ROOT,
                env={**self._environ, **environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def terminate(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def ended(self) -> int:
        """Wait for its end, and return how it ended."""
        return await end_of(self.process)


async def end_of(process: subprocess.Popen[bytes]) -> int:
    """Wait until a process has ended, and return its return code."""
    while (returncode := process.poll()) is None:
        await asyncio.sleep(0.01)
    return returncode
