"""The processes that are killed: web servers, workers, and Redis.

Each starts a session of its own and dies with its whole group, since the workers of an engine have a parent that would
start them again on its own account.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.redis_process import RedisProcess, free_port

ROOT = Path(__file__).parent.parent.parent

RECEIVING = ("before-accept", "accepted-not-answered")
RUNNING = ("claimed", "in-handler", "handled-not-completed", "completed")
HANDING_OUT = ("named-not-given", "given")
ANY_TIME = "any-time"
POINTS = ("before-accept", "before-commit", "accepted-not-answered", *RUNNING, ANY_TIME)
"""Where a web process on SQLite is killed, which does everything by itself."""


@dataclass(frozen=True)
class Role:
    """What a process does.

    Attributes:
        name: of the role; empty for a process that does everything.
        command: what Python runs as a module.
        points: where it is killed.
    """

    name: str
    command: Sequence[str]
    points: Sequence[str]

    def label(self, point: str) -> str:
        """Name a point of this role, for the account."""
        return f"{self.name} {point}".lstrip()


_UVICORN = ("uvicorn", "tests.crash.app:app", "--no-access-log", "--log-level", "error", "--port")
_TASKIQ = ("taskiq", "worker", "tests.crash.app:broker", "--workers", "1", "--log-level", "ERROR")

ALONE = Role("", _UVICORN, POINTS)
WEB = Role("web", _UVICORN, (*RECEIVING, *RUNNING, ANY_TIME))
WEB_OF_TASKIQ = Role("web", _UVICORN, (*RECEIVING, *HANDING_OUT, ANY_TIME))
WORKER = Role("worker", ("starlette_intercom.cli", "worker", "tests.crash.app:intercom"), (*RUNNING, ANY_TIME))
WORKER_OF_TASKIQ = Role("worker", _TASKIQ, (*RUNNING, *HANDING_OUT, ANY_TIME))


class Process:
    """One process, started again each time it dies.

    Args:
        role: what it does.
        environ: variables that it gets beside our own.
    """

    def __init__(self, role: Role, environ: dict[str, str]) -> None:
        self.role = role
        self.port = free_port()
        self._environ = {**os.environ, **environ, "PYTHONPATH": str(ROOT)}

    def start(self, plan: str, redis_plan: str = ":0") -> None:
        """Start it.

        Args:
            plan: where it kills itself, as ``point:n``.
            redis_plan: where it kills Redis.
        """
        port = [str(self.port)] if "--port" in self.role.command else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", *self.role.command, *port],
            cwd=ROOT,
            env={**self._environ, "KILL_AT": plan, "KILL_REDIS_AT": redis_plan},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """End it at once, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def ended(self) -> int:
        return await _end_of(self.process)


class KilledRedis:
    """A Redis server that the processes can kill: its process id lies in a file, which the killer takes away."""

    def __init__(self, server: RedisProcess) -> None:
        self.server = server
        self.file = server.directory / "pid"

    async def killed(self, *, within: float) -> str:
        """Have it killed by a process at a named point, or after so many seconds; return where."""
        process = self.server.process
        assert process is not None
        self.file.write_text(str(process.pid))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await _end_of(process)
        with contextlib.suppress(FileNotFoundError):
            self.file.unlink()  # nobody kills it any more
            process.kill()
        taken = list(self.file.parent.glob("killed-*"))
        await _end_of(process)
        for file in taken:
            file.unlink()
        return taken[0].name.removeprefix("killed-") if taken else ANY_TIME

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)


async def _end_of(process: subprocess.Popen[bytes]) -> int:
    while (returncode := process.poll()) is None:
        await asyncio.sleep(0.01)
    return returncode
