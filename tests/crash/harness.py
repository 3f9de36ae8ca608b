"""Servers that are killed under load, and the account of what they were given and what became of it.

python -m tests.crash.harness --kills 200 --notifications 20000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from starlette_intercom import Inbox, VerifiedBody, VerifiedNotification
from starlette_intercom.inbox.urls import inbox_from_url
from starlette_intercom.testing import sample, signed

ROOT = Path(__file__).parent.parent.parent
POINTS = (
    "before-accept",
    "before-commit",
    "accepted-not-answered",
    "claimed",
    "in-handler",
    "handled-not-completed",
    "completed",
    "any-time",
)
CONNECTIONS = 16


@dataclass
class Account:
    """What happened."""

    sent: int = 0
    answers: int = 0
    answered: set[str] = field(default_factory=set)
    refused: Counter[int] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    completions: Counter[str] = field(default_factory=Counter)
    leases: Counter[tuple[str, str]] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    unfinished: int = 0
    dead: int = 0

    @property
    def lost(self) -> set[str]:
        """Answered with 200, and then neither handled nor known."""
        return {key for key in self.answered if not self.runs[key]} | self.unknown

    @property
    def doubled(self) -> set[str]:
        """Completed more than once: two runs held a valid lease."""
        twice = {key for key, count in self.completions.items() if count > 1}
        return twice | {key for (key, _), count in self.leases.items() if count > 1}

    def __str__(self) -> str:
        again = sum(self.runs.values()) - len(self.runs)
        return (
            f"notifications {self.sent}, answered with 200 {len(self.answered)} ({self.answers} copies), "
            f"other answers (0: none) {dict(self.refused)}\n"
            f"kills {self.kills.total()}: {dict(sorted(self.kills.items()))}\n"
            f"handled {len(self.runs)}, run again {again}, dead {self.dead}, unfinished {self.unfinished}\n"
            f"lost {len(self.lost)}, with two valid leases {len(self.doubled)}"
        )


class Server:
    """One process under uvicorn, started again each time it dies."""

    def __init__(self, url: str, ledger: Path) -> None:
        self._environ = {**os.environ, "INTERCOM_INBOX": url, "LEDGER": str(ledger), "PYTHONPATH": str(ROOT)}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def start(self, plan: str) -> None:
        options = ["--port", str(self.port), "--no-access-log", "--log-level", "error"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "tests.crash.app:app", *options],
            cwd=ROOT,
            env={**self._environ, "KILL_AT": plan},
            stderr=subprocess.DEVNULL,
        )

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait)


async def post(port: int, request: bytes) -> int:
    """Send one request over a connection of its own; return the status, or 0 where there was no answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            line = await asyncio.wait_for(reader.readline(), 10)
            return int(line.split()[1]) if line else 0
        finally:
            writer.close()
    except (TimeoutError, OSError):
        return 0


async def stats_of(port: int) -> dict[str, int] | None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    writer.write(b"GET /stats HTTP/1.0\r\nhost: x\r\n\r\n")
    with contextlib.suppress(OSError):
        answer = await reader.read()
        writer.close()
        if answer.startswith(b"HTTP/1.1 200"):
            found: dict[str, int] = json.loads(answer.partition(b"\r\n\r\n")[2])
            return found
    return None


class Trial:
    """One run of the crash test.

    Args:
        url: the inbox, on which all servers work.
        kills: how many.
        notifications: at least how many; more are sent while kills are left.
        seed: of all that is random.
        processes: how many servers.
        copies: how often each notification is sent, at the same time, each to any of the servers.
        ledger: a file for the servers to write to.
    """

    def __init__(
        self, url: str, *, kills: int, notifications: int, seed: int, processes: int, copies: int, ledger: Path
    ) -> None:
        self.account = Account()
        self._copies = copies
        self._url = url
        self._kills = kills
        self._notifications = notifications
        self._random = random.Random(seed)
        self._ledger = ledger
        self._servers = [Server(url, ledger) for _ in range(processes)]
        self._planned = 0
        self._stopping = False

    async def run(self) -> Account:
        keepers = [asyncio.create_task(self._keep(server)) for server in self._servers]
        try:
            await asyncio.gather(*(self._until_up(server) for server in self._servers))
            await asyncio.gather(*(self._send() for _ in range(CONNECTIONS)))
            await self._wait_until_worked_off()
        finally:
            self._stopping = True
            for server in self._servers:
                server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*keepers)
        await self._audit(inbox_from_url(self._url))
        return self.account

    async def _keep(self, server: Server) -> None:
        while not self._stopping:
            point = None
            if self._planned < self._kills:
                point = POINTS[self._planned % len(POINTS)]
                self._planned += 1
            number = self._random.randint(1, 40)
            server.start(f"{point}:{number}" if point else ":0")
            if point == "any-time":
                await asyncio.sleep(0.4 + self._random.random())
                server.process.kill()
            returncode = await server.ended()
            if point and returncode == -signal.SIGKILL:
                self.account.kills[point] += 1
            elif point:
                raise AssertionError(f"A server ended with {returncode}, and was not killed at {point}.")

    async def _until_up(self, server: Server) -> None:
        while not self._kills and await stats_of(server.port) is None:
            await asyncio.sleep(0.05)

    async def _send(self) -> None:
        account = self.account
        while account.sent < self._notifications or account.kills.total() < self._kills:
            account.sent += 1
            notification = sample("conversation.user.created", id=f"notif_{account.sent}")
            request = signed(notification, "secret")
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            head = f"POST /webhooks/intercom HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}"
            message = f"{head}content-length: {len(request.body)}\r\n\r\n".encode() + request.body
            key = f"{notification['app_id']}:{notification['id']}"
            await asyncio.gather(*(self._deliver(key, message) for _ in range(self._copies)))

    async def _deliver(self, key: str, message: bytes) -> None:
        # Intercom tries twice. Here until it gets in, so that there is something to account for.
        for _ in range(1000):
            status = await post(self._random.choice(self._servers).port, message)
            if status == 200:
                self.account.answered.add(key)
                self.account.answers += 1
                return
            self.account.refused[status] += 1
            await asyncio.sleep(0.05)

    async def _wait_until_worked_off(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            now = await stats_of(self._servers[0].port)
            if now is not None:
                self.account.unfinished, self.account.dead = now["unfinished"], now["dead"]
                if not now["unfinished"]:
                    return
            await asyncio.sleep(0.1)

    async def _audit(self, inbox: Inbox) -> None:
        for line in self._ledger.read_text().splitlines():
            what, key, fencing = line.split()
            if what == "run":
                self.account.runs[key] += 1
                self.account.leases[key, fencing] += 1
            else:
                self.account.completions[key] += 1
        await inbox.open()
        try:
            for key in self.account.answered:
                notification = sample("conversation.user.created", id=key.partition(":")[2])
                body = VerifiedBody(msgspec.json.encode(notification), "1")
                if await inbox.accept(VerifiedNotification(body), key=key):
                    self.account.unknown.add(key)
        finally:
            await inbox.close()


def crash_test(url: str, *, kills: int, notifications: int, seed: int, processes: int = 2, copies: int = 1) -> Account:
    """Run one trial."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(
            url,
            kills=kills,
            notifications=notifications,
            seed=seed,
            processes=processes,
            copies=copies,
            ledger=Path(folder) / "ledger",
        )
        return asyncio.run(trial.run())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inbox", help="its URL; a SQLite file of its own where not given")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--notifications", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        account = crash_test(
            chosen.inbox or f"sqlite:///{folder}/inbox.db",
            kills=chosen.kills,
            notifications=chosen.notifications,
            seed=chosen.seed,
            processes=chosen.processes,
            copies=chosen.copies,
        )
    print(account)  # noqa: T201 - a command
    return 1 if account.lost or account.doubled or account.unfinished else 0


if __name__ == "__main__":
    sys.exit(main())
