"""The commands of examples/scale_out/README.md, on ports of their own, take a notification through to a worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import httpx
import pytest

from starlette_intercom.testing import sample, signed
from tests.examples.conftest import EXAMPLES
from tests.factories import SECRET
from tests.redis_process import RedisProcess, free_port, require_redis

FOLDER = EXAMPLES / "scale_out"
README = (FOLDER / "README.md").read_text()
WEB = re.findall(r"^uvicorn (.*) --port \d+$", README, re.MULTILINE)
TASKIQ = re.findall(r"^taskiq (worker .*)$", README, re.MULTILINE)
OWN_WORKER = re.findall(r"^PYTHONPATH=\S+ starlette-intercom (worker .*)$", README, re.MULTILINE)


class Deployment:
    """Processes on one Redis, and what they say."""

    def __init__(self, redis: RedisProcess, output: Path) -> None:
        self.urls: list[str] = []
        self.environ = {**os.environ, "INTERCOM_CLIENT_SECRET": SECRET, "INTERCOM_INBOX": redis.url}
        self._output = output
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, **environ: str) -> None:
        with self._output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=EXAMPLES.parent,
                env={**self.environ, **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)

    def start_web(self, commands: Sequence[str]) -> None:
        for command in commands:
            port = free_port()
            self.start("uvicorn", *command.split(), "--port", str(port))
            self.urls.append(f"http://127.0.0.1:{port}")

    def deliver(self) -> None:
        """Send a notification to each web process, once it is healthy."""
        for number, url in enumerate(self.urls):
            self.until(partial(is_healthy, url))
            request = signed(sample("conversation.user.created", id=f"notif_{number}"), SECRET)
            answer = httpx.post(f"{url}/webhooks/intercom", content=request.body, headers=request.headers)
            assert answer.json() == {"received": True}

    def handled(self) -> int:
        return len(set(re.findall(r"handles \S+:(notif_\d+)", self._output.read_text())))

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 40
        while not condition():
            assert time.monotonic() < deadline, self._output.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    require_redis()
    with RedisProcess(tmp_path, "--maxmemory-policy", "noeviction") as redis:
        deployment = Deployment(redis, tmp_path / "output")
        try:
            yield deployment
        finally:
            deployment.stop()


def test_two_web_processes_and_two_workers_of_taskiq(deployment: Deployment) -> None:
    assert (len(WEB), len(TASKIQ)) == (2, 1)
    deployment.start_web(WEB)
    deployment.deliver()  # the workers find what came before them
    deployment.start("taskiq", *TASKIQ[0].split())
    deployment.until(lambda: deployment.handled() == 2)


def test_the_workers_of_the_library_without_an_engine(deployment: Deployment, tmp_path: Path) -> None:
    """As the README says: without `runner=`."""
    (command,) = OWN_WORKER
    text, removed = re.subn(r", runner=TaskiqRunner\(broker\)", "", (FOLDER / "app.py").read_text())
    assert removed == 1
    (tmp_path / "app.py").write_text(text)
    deployment.start("starlette_intercom.cli", *command.split(), PYTHONPATH=str(tmp_path))
    deployment.start_web([WEB[0].replace("examples/scale_out", str(tmp_path))])
    deployment.deliver()
    deployment.until(lambda: deployment.handled() == 1)
