"""The processes that are killed: web servers, workers, and Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from tests.processes import Process, end_of
from tests.redis_process import RedisProcess, free_port

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


class KilledProcess(Process):
    """One process, started again each time it dies.

    Args:
        role: what it does.
        environ: variables that it gets beside our own.
    """

    def __init__(self, role: Role, environ: dict[str, str]) -> None:
        self.role = role
        self.port = free_port()
        port = [str(self.port)] if "--port" in role.command else []
        super().__init__([*role.command, *port], environ)


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
                await end_of(process)
        with contextlib.suppress(FileNotFoundError):
            self.file.unlink()  # nobody kills it any more
            process.kill()
        taken = list(self.file.parent.glob("killed-*"))
        await end_of(process)
        for file in taken:
            file.unlink()
        return taken[0].name.removeprefix("killed-") if taken else ANY_TIME

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)
