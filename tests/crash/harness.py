"""Servers that are killed under load, and the account of what they were given and what became of it.

python -m tests.crash.harness --kills 200 --notifications 20000
python -m tests.crash.harness --redis --workers 2 --kills 200
python -m tests.crash.harness --redis --taskiq --workers 2 --kills 200

With Redis, a server of its own is killed as well, every few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import msgspec

from starlette_intercom import Inbox, VerifiedBody, VerifiedNotification
from starlette_intercom.inbox.urls import inbox_from_url
from starlette_intercom.testing import sample, signed
from tests.raw_http import ask, get_json, message_of
from tests.redis_process import RedisProcess

from .account import Account
from .processes import ALONE, ANY_TIME, WEB, WEB_OF_TASKIQ, WORKER, WORKER_OF_TASKIQ, KilledProcess, KilledRedis

CONNECTIONS = 16


class Trial:
    """One run of the crash test.

    Args:
        url: the inbox, on which all servers work.
        kills: how many processes; Redis comes on top, every few seconds.
        notifications: at least how many; more are sent while kills are left.
        seed: of all that is random.
        processes: how many servers.
        copies: how often each notification is sent, at the same time, each to any of the servers.
        ledger: a file for the servers to write to.
        workers: how many processes beside the servers work on the inbox.
        redis: the server that has the inbox, to be killed as well.
        taskiq: the workers are those of taskiq, with its broker on the same Redis, and the servers run no handlers.
    """

    def __init__(
        self,
        url: str,
        *,
        kills: int,
        notifications: int,
        seed: int,
        processes: int,
        copies: int,
        ledger: Path,
        workers: int = 0,
        redis: RedisProcess | None = None,
        taskiq: bool = False,
    ) -> None:
        self.account = Account()
        self._copies = copies
        self._url = url
        self._kills = kills
        self._notifications = notifications
        self._random = random.Random(seed)
        self._ledger = ledger
        self._redis = None if redis is None else KilledRedis(redis)
        environ = {"INTERCOM_INBOX": url, "LEDGER": str(ledger)}
        if self._redis is not None:
            environ["REDIS_PID"] = str(self._redis.file)
        if taskiq:
            environ["TASKIQ"] = url
        web = WEB_OF_TASKIQ if taskiq else WEB if workers else ALONE
        self._servers = [KilledProcess(web, environ) for _ in range(processes)]
        worker = WORKER_OF_TASKIQ if taskiq else WORKER
        self._workers = [KilledProcess(worker, environ) for _ in range(workers)]
        roles = {process.role: cycle(process.role.points) for process in self._all}
        self._points: dict[str, Iterator[str]] = {role.name: points for role, points in roles.items()}
        shares = [kills // len(self._all) + (number < kills % len(self._all)) for number in range(len(self._all))]
        self._shares = dict(zip(self._all, shares, strict=True))
        self._killed = 0
        self._stopping = asyncio.Event()

    @property
    def _all(self) -> list[KilledProcess]:
        return [*self._servers, *self._workers]

    async def run(self) -> Account:
        try:
            async with asyncio.timeout(120 + 5 * self._kills), asyncio.TaskGroup() as keepers:
                for process in self._all:
                    keepers.create_task(self._keep(process))
                keepers.create_task(self._keep_redis())
                await asyncio.gather(*(self._until_up(server) for server in self._servers))
                await asyncio.gather(*(self._send() for _ in range(CONNECTIONS)))
                await self._wait_until_worked_off()
                self._stopping.set()
                for process in self._all:
                    process.terminate()
        finally:
            for process in self._all:
                process.kill()
        await self._audit(inbox_from_url(self._url))
        return self.account

    async def _keep(self, process: KilledProcess) -> None:
        point = None
        while not self._stopping.is_set():
            if point is None and self._shares[process]:
                point = next(self._points[process.role.name])
                self._shares[process] -= 1
            plan = f"{point}:{self._number()}" if point else ":0"
            process.start(KILL_AT=plan, KILL_REDIS_AT=self._redis_plan(process))
            if point == ANY_TIME:
                await asyncio.sleep(0.4 + self._random.random())
                process.kill()
            returncode = await process.ended()
            process.kill()  # what is left of its group
            if point and returncode == -signal.SIGKILL:
                self.account.kills[process.role.label(point)] += 1
                self._killed += 1
                point = None
            elif not self._stopping.is_set() and (self._redis is None or self._has_started(process)):
                raise AssertionError(f"A {process.role.name} process ended with {returncode}, and was not killed.")

    async def _keep_redis(self) -> None:
        """Start Redis again whenever it dies; kill it at any time where nobody does it at a named point."""
        if self._redis is None or not self._kills:
            return
        while self._killed < self._kills:
            point = await self._redis.killed(within=2 + 2 * self._random.random())
            self.account.kills[f"redis {point}"] += 1
            await asyncio.sleep(self._random.random() / 2)
            await self._redis.start()

    def _number(self) -> int:
        return self._random.randint(1, 40)

    def _redis_plan(self, process: KilledProcess) -> str:
        if self._redis is None or self._random.random() < 0.5:
            return ":0"
        named = [point for point in process.role.points if point != ANY_TIME]
        return f"{self._random.choice(named)}:{self._number()}"

    def _has_started(self, process: KilledProcess) -> bool:
        """Whether it was past the point where a process without its inbox gives up, to be started again."""
        return f"started {process.process.pid} 0\n" in self._ledger.read_text()

    async def _until_up(self, server: KilledProcess) -> None:
        while not self._kills and await get_json(server.port, "/stats") is None:
            await asyncio.sleep(0.05)

    async def _send(self) -> None:
        account = self.account
        while account.sent < self._notifications or self._killed < self._kills:
            account.sent += 1
            notification = sample("conversation.user.created", id=f"notif_{account.sent}")
            message = message_of(signed(notification, "secret"))
            key = f"{notification['app_id']}:{notification['id']}"
            await asyncio.gather(*(self._deliver(key, message) for _ in range(self._copies)))

    async def _deliver(self, key: str, message: bytes) -> None:
        # Intercom tries twice. Here until it gets in, so that there is something to account for.
        for _ in range(1000):
            status = (await ask(self._random.choice(self._servers).port, message)).status
            if status == 200:
                self.account.answered.add(key)
                self.account.answers += 1
                return
            self.account.refused[status] += 1
            await asyncio.sleep(0.05)

    async def _wait_until_worked_off(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            now = await get_json(self._servers[0].port, "/stats")
            if now is not None:
                self.account.unfinished, self.account.dead = now["unfinished"], now["dead"]
                if not now["unfinished"]:
                    return
            await asyncio.sleep(0.1)

    async def _audit(self, inbox: Inbox) -> None:
        self.account.read(self._ledger)
        await inbox.open()
        try:
            for key in self.account.answered:
                notification = sample("conversation.user.created", id=key.partition(":")[2])
                body = VerifiedBody(msgspec.json.encode(notification), "1")
                if await inbox.accept(VerifiedNotification(body), key=key):
                    self.account.unknown.add(key)
        finally:
            await inbox.close()


def crash_test(
    url: str,
    *,
    kills: int,
    notifications: int,
    seed: int,
    processes: int = 2,
    copies: int = 1,
    workers: int = 0,
    redis: RedisProcess | None = None,
    taskiq: bool = False,
) -> Account:
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
            workers=workers,
            redis=redis,
            taskiq=taskiq,
        )
        return asyncio.run(trial.run())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inbox", help="its URL; a SQLite file of its own where not given")
    parser.add_argument("--redis", action="store_true", help="a Redis of its own, which is killed as well")
    parser.add_argument("--taskiq", action="store_true", help="with --redis: the workers are those of taskiq")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--notifications", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisProcess(Path(folder))) if chosen.redis else None
        account = crash_test(
            redis.url if redis else chosen.inbox or f"sqlite:///{folder}/inbox.db",
            kills=chosen.kills,
            notifications=chosen.notifications,
            seed=chosen.seed,
            processes=chosen.processes,
            copies=chosen.copies,
            workers=chosen.workers,
            redis=redis,
            taskiq=chosen.taskiq,
        )
    print(account)  # noqa: T201 - a command
    return 1 if account.lost or account.doubled or account.unfinished else 0


if __name__ == "__main__":
    sys.exit(main())
