"""Processes of a measurement: built and started here, pinned to a core, ended when it is over."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
SERVER_CORE: Final = 0
LOAD_CORE: Final = 1
_START_TIMEOUT: Final = 20.0  # seconds


class Unavailable(Exception):
    """This machine lacks something that a measurement needs; the text says what."""


def need(program: str) -> str:
    """Return the path of a program.

    Raises:
        Unavailable: it is not installed.
    """
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"there is no {program} on this machine")
    return path


def compile_load(folder: Path) -> Path:
    """Compile the load generator.

    Raises:
        Unavailable: there is no C compiler.
    """
    target = folder / "load"
    compiler = shutil.which("cc") or need("gcc")
    subprocess.run([compiler, "-O2", "-Wall", "-o", target, HERE / "load.c"], check=True)
    return target


def install_express(folder: Path) -> list[str]:
    """Install Express and a Redis client for Node; return the command of the server.

    Raises:
        Unavailable: there is no Node, or its packages cannot be had.
    """
    node, npm = need("node"), need("npm")
    folder.mkdir()
    shutil.copy(HERE / "servers" / "express.js", folder)
    command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "express@5", "redis@6"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        raise Unavailable(f"npm could not install Express: {installed.stderr.strip()[-300:]}")
    return [node, str(folder / "express.js")]


@dataclass(frozen=True)
class Server:
    """A process that serves HTTP on loopback."""

    pid: int
    port: int

    def handled(self) -> dict[str, int]:
        """Ask how many notifications its handlers have seen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/handled")
            answer: dict[str, int] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return its resident memory in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(f"process {self.pid} has ended")


@contextmanager
def running(command: Sequence[str], *, port: int, core: int, environ: Mapping[str, str]) -> Iterator[Server]:
    """Start a server pinned to a core, wait until it listens, and stop it in the end."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        _await_port(process, port)
        yield Server(process.pid, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def python_server(kind: str, port: int, *options: str) -> list[str]:
    """Return the command of one of the Python servers."""
    return [sys.executable, "-m", "tests.benchmarks.serve", kind, "--port", str(port), *options]


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a Redis with an append-only file on the core of the load; yields its URL.

    Raises:
        Unavailable: there is no Redis on this machine.
    """
    program, port = need("redis-server"), free_port()
    folder.mkdir(exist_ok=True)
    # What production would use: written to the file at once, synced each second.
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    options += ["--appendonly", "yes", "--appendfsync", "everysec"]
    with running([program, *options], port=port, core=LOAD_CORE, environ={}):
        yield f"redis://127.0.0.1:{port}/0"
    shutil.rmtree(folder)


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _START_TIMEOUT
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"A server ended with {process.returncode} before it listened.")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
