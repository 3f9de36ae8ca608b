"""Several processes on one Redis: real web servers and workers, that share the work and take over from each other."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from starlette_intercom.inbox.redis import RedisInbox
from starlette_intercom.testing import signed
from tests.factories import SECRET, envelope
from tests.redis_process import RedisProcess, free_port

pytestmark = pytest.mark.anyio

# More and longer by hand: REDIS_NOTIFICATIONS=10000 REDIS_AWAY=30 python -m pytest tests/inbox/test_redis_processes.py
NOTIFICATIONS = int(os.environ.get("REDIS_NOTIFICATIONS", "250"))
AWAY = float(os.environ.get("REDIS_AWAY", "2"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Deployment:
    """Web processes and workers on one Redis, and what they write down."""

    def __init__(self, server: RedisProcess, directory: Path) -> None:
        self.server = server
        self.log = directory / "log"
        self.errors = directory / "errors"
        self.urls: list[str] = []

    @contextmanager
    def run(self, *, web: int, workers: int) -> Iterator[None]:
        environment = {
            **os.environ,
            "REDIS_APP_URL": self.server.url,
            "REDIS_APP_LOG": str(self.log),
            "PYTHONPATH": ".",
        }
        with self.errors.open("ab") as errors, ExitStack() as stack:

            def start(*command: str) -> None:
                process = subprocess.Popen(
                    [sys.executable, "-m", *command],
                    cwd=Path(__file__).parents[2],
                    env=environment,
                    stdout=subprocess.PIPE if command[0] != "uvicorn" else subprocess.DEVNULL,
                    stderr=errors,
                )
                stack.callback(process.communicate, timeout=20)
                stack.callback(process.terminate)
                if process.stdout is not None:
                    assert process.stdout.readline() == b"working\n"

            for _ in range(web):
                port = free_port()
                start("uvicorn", "tests.inbox.redis_app:app", "--port", str(port), "--log-level", "warning")
                self.urls.append(f"http://127.0.0.1:{port}/webhooks/intercom")
            for _ in range(workers):
                start("tests.inbox.redis_app")
            for url in self.urls:
                self._wait_for(url)
            yield

    def _wait_for(self, url: str) -> None:
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            assert client.head(url).status_code == 200

    async def deliver(self, client: httpx.AsyncClient, key: str, url: str | None = None) -> int:
        request = signed(envelope(id=key), SECRET)
        response = await client.post(url or random.choice(self.urls), content=request.body, headers=request.headers)
        return response.status_code

    def lines(self) -> Sequence[tuple[str, str, int]]:
        lines = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [(what, key.rpartition(":")[2], int(pid)) for what, key, pid in lines]

    def count(self, wanted: str) -> Counter[str]:
        return Counter(key for what, key, _ in self.lines() if what == wanted)

    async def done(self) -> int:
        """Return how many are completed when nothing is left to do."""
        inbox = RedisInbox(self.server.url)
        await inbox.open()
        try:
            with anyio.fail_after(60):
                while (stats := await inbox.stats()).waiting + stats.running + stats.scheduled:
                    await anyio.sleep(0.05)
            assert stats.dead == 0
            return stats.done
        finally:
            await inbox.close()


@pytest.fixture
def deployment(redis_process: RedisProcess, tmp_path: Path) -> Deployment:
    return Deployment(redis_process, tmp_path)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():
            await anyio.sleep(0.02)


async def test_two_web_processes_and_four_workers_complete_each_notification_once(deployment: Deployment) -> None:
    copies = [f"notif_{number}" for number in range(NOTIFICATIONS)] * 3
    random.shuffle(copies)
    statuses: Counter[int] = Counter()
    with deployment.run(web=2, workers=4):
        async with httpx.AsyncClient(timeout=30) as client, anyio.create_task_group() as tasks:

            async def deliver() -> None:
                while copies:
                    statuses[await deployment.deliver(client, copies.pop())] += 1

            for _ in range(16):
                tasks.start_soon(deliver)
        assert await deployment.done() == NOTIFICATIONS
    assert statuses == {200: 3 * NOTIFICATIONS}
    assert deployment.count("ended") == {f"notif_{number}": 1 for number in range(NOTIFICATIONS)}


async def test_a_process_that_slept_through_its_lease_cannot_complete_what_another_took_over(
    deployment: Deployment,
) -> None:
    with deployment.run(web=1, workers=2):
        async with httpx.AsyncClient(timeout=30) as client:
            assert await deployment.deliver(client, "held") == 200
        await until(lambda: bool(deployment.lines()))
        ((_, _, sleeper),) = deployment.lines()
        os.kill(sleeper, signal.SIGSTOP)
        try:
            await until(lambda: deployment.count("began")["held"] == 2)
            deployment.log.with_suffix(".go").touch()
            await until(lambda: deployment.count("ended")["held"] == 1)
        finally:
            os.kill(sleeper, signal.SIGCONT)
        await until(lambda: "the lease was lost" in deployment.errors.read_text())
        assert await deployment.done() == 1
    assert sleeper not in {pid for what, _, pid in deployment.lines()[:3] if what == "ended"}


async def test_while_redis_is_away_the_answer_is_503_and_no_200_is_lost(deployment: Deployment) -> None:
    accepted: set[str] = set()
    statuses: Counter[int] = Counter()
    while_away: Counter[int] = Counter()
    away = False
    stopping = anyio.Event()
    with deployment.run(web=2, workers=2):
        async with httpx.AsyncClient(timeout=30) as client, anyio.create_task_group() as tasks:

            async def deliver(sender: int) -> None:
                number = 0
                while not stopping.is_set():
                    number += 1
                    key, was_away = f"notif_{sender}_{number}", away
                    status = await deployment.deliver(client, key)
                    (while_away if was_away and away else statuses)[status] += 1
                    if status == 200:
                        accepted.add(key)
                    else:
                        await anyio.sleep(0.05)

            for sender in range(8):
                tasks.start_soon(deliver, sender)
            await until(lambda: len(accepted) > 100)
            deployment.server.kill()
            away = True
            await anyio.sleep(AWAY)
            away = False
            await run_sync(deployment.server.start)
            before = len(accepted)
            await until(lambda: len(accepted) > before + 100)
            stopping.set()
        done = await deployment.done()
    assert set(while_away) == {503}
    assert set(statuses) <= {200, 503}
    assert len(accepted) <= done <= len(accepted) + 8, "more than may have been stored without an answer"
    assert accepted <= set(deployment.count("ended"))
