"""Starts apps in real server processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.factories import SECRET, Headers, headers_of

APPS = Path(__file__).parent / "apps"

COMMANDS = {
    "uvicorn-h11": "uvicorn --http h11 --port {port} {app}:app",
    "uvicorn-httptools": "uvicorn --http httptools --port {port} {app}:app",
    "granian": "granian --interface asgi --host 127.0.0.1 --port {port} {app}:app",
    "hypercorn-asyncio": "hypercorn -k asyncio -b 127.0.0.1:{port} {app}:app",
    "hypercorn-trio": "hypercorn -k trio -b 127.0.0.1:{port} {app}:app",
}
SERVERS = list(COMMANDS)

_DEADLINE = 20.0  # seconds for anything that a server is waited for


@dataclass
class Answer:
    """What a server answered, and after how many seconds."""

    status: int
    headers: dict[str, str]
    content: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Server:
    """A server process on a loopback port; its output is kept in a file."""

    def __init__(self, name: str, command: str, app: str, log: Path, environ: dict[str, str]) -> None:
        self.name = name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        arguments = command.format(port=self.port, app=app).split()
        path = os.pathsep.join([str(APPS), str(Path(__file__).parents[2])])
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path, **environ},
                cwd=log.parent,
                start_new_session=True,  # a process group of its own, since some servers start others
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="backslashreplace")

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true."""
        give_up = time.monotonic() + _DEADLINE
        while not condition():
            assert time.monotonic() < give_up, f"waited in vain; the server said:\n{self.output}"
            time.sleep(0.01)

    def until_said(self, text: str) -> None:
        """Wait for a text in the output."""
        self.until(lambda: text in self.output)

    def until_ready(self) -> None:
        """Wait for the first answer."""
        self.until(self._is_ready)

    def connect(self) -> socket.socket:
        """Return a connection, to write raw bytes to."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=_DEADLINE)

    def memory(self, field: str) -> int:
        """Return what the kernel says of its memory: ``VmRSS`` now, ``VmHWM`` at its peak; in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith(f"{field}:"))

    def request(self, method: str, path: str, body: bytes = b"", headers: Headers | None = None) -> Answer:
        """Make one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_DEADLINE)
        try:
            began = time.monotonic()
            connection.request(
                method, path, body, {name.decode(): value.decode() for name, value in headers or [] if name != b"host"}
            )
            response = connection.getresponse()
            content = response.read()
            seconds = time.monotonic() - began
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, content, seconds)
        finally:
            connection.close()

    def deliver(self, body: bytes, *, path: str = "/webhooks/intercom", secret: str = SECRET) -> Answer:
        """Send a body as Intercom would, signed."""
        return self.request("POST", path, body, headers_of(body, secret=secret))

    def stop(self) -> int:
        """Ask it to stop, and wait until it has; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_DEADLINE)

    def close(self) -> None:
        """End it, however it stands."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"the server has ended:\n{self.output}"
        try:
            self.request("GET", "/health")
        except OSError:
            return False
        return True


Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start servers that live as long as the tests of a module, at the most.

    ``serve("granian", "shop")`` starts ``apps/shop.py``; what follows goes into its environment; ``options`` are
    added to the command. It returns when the server answers, unless ``ready=False``.
    """
    with ExitStack() as stack:

        def start(server: str, app: str, *, ready: bool = True, options: str = "", **environ: str) -> Server:
            log = tmp_path_factory.mktemp(server) / "output.txt"
            started = Server(server, f"{COMMANDS[server]} {options}", app, log, environ)
            stack.callback(started.close)
            if ready:
                started.until_ready()
            return started

        yield start
