"""A NATS server with JetStream as a process of our own, on a free port of the loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.redis_process import free_port

HOW_TO_GET_IT = "no nats-server on the PATH: install it (apt-get install nats-server) to run this test"


@contextmanager
def nats_process(directory: Path) -> Iterator[str]:
    """Run a server, which keeps its data in the directory; give its URL."""
    program = shutil.which("nats-server")
    if program is None:
        pytest.skip(HOW_TO_GET_IT)
    port = free_port()
    command = [program, "--addr", "127.0.0.1", "--port", str(port), "--jetstream", "--store_dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
