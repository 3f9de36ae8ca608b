"""The servers under test, the Intercom for events, and what can be done to them."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from tests.processes import Process
from tests.raw_http import get_json
from tests.redis_process import free_port

_UVICORN = ("--no-access-log", "--log-level", "warning", "--port")
_LONGEST_START = 60.0  # seconds, on a machine that does other things too
_LONGEST_STOP = 60.0


class Server(Process):
    """A uvicorn process on a port, one after the other.

    Args:
        app: module and name.
        environ: variables that it gets.
        log: a file for all that it says.
    """

    def __init__(self, app: str, environ: dict[str, str], *, log: Path) -> None:
        self.port = free_port()
        self.log = log
        self.starts = 0
        super().__init__(["uvicorn", app, *_UVICORN, str(self.port)], environ, log=log)

    @property
    def pid(self) -> int:
        """The process that lives now, or did."""
        return self.process.pid

    async def up(self, path: str = "/state") -> None:
        """Start it, and return when it answers."""
        self.start()
        self.starts += 1
        deadline = time.monotonic() + _LONGEST_START
        while await get_json(self.port, path) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"A server did not start:\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.05)

    async def die(self) -> None:
        """Be killed, which must be the first that ends it."""
        self.check_alive()
        self.kill()
        await self.ended()

    async def down(self) -> None:
        """Have it end by itself, when it is asked to."""
        self.check_alive()
        self.terminate()
        async with asyncio.timeout(_LONGEST_STOP):
            returncode = await self.ended()
        if returncode not in (0, -signal.SIGTERM):
            raise AssertionError(f"A server ended with {returncode}:\n{self.log.read_text()[-3000:]}")

    def check_alive(self) -> None:
        """It has not ended without being told to.

        Raises:
            AssertionError: it has.
        """
        if self.process.poll() is not None:
            raise AssertionError(f"A server ended without reason:\n{self.log.read_text()[-3000:]}")
