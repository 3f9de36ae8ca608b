"""What is done to the servers and their inbox while the traffic goes on: seeded, one thing after the other."""

# ruff: noqa: ASYNC240 - renaming a small local file holds nobody up here

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from tests.redis_process import RedisProcess

from .account import FILE_GONE, Account
from .servers import Server
from .settings import LEASE

LONGEST_OUTAGE = 2.5 * LEASE
"""Seconds, where the run is long enough: leases run out while nobody can renew them."""

Outages = Mapping[str, Callable[[float], Awaitable[None]]]
"""Each takes the inbox away for some seconds."""


def outages_of_sqlite(file: Path) -> Outages:
    """Return what can happen to a file."""

    async def locked(seconds: float) -> None:
        connection = sqlite3.connect(file, isolation_level=None, timeout=10, check_same_thread=False)
        try:
            await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
            await asyncio.sleep(seconds)
        finally:
            connection.close()

    async def read_for_long(seconds: float) -> None:
        connection = sqlite3.connect(file, isolation_level=None, timeout=10)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM delivery").fetchone()  # keeps the log from being begun anew
            await asyncio.sleep(seconds)
        finally:
            connection.close()

    async def gone(seconds: float) -> None:
        aside = file.with_name("aside")
        file.rename(aside)
        try:
            await asyncio.sleep(seconds)
        finally:
            aside.rename(file)

    return {"file locked": locked, "file read for long": read_for_long, FILE_GONE: gone}


def outages_of_redis(redis: RedisProcess) -> Outages:
    """Return what can happen to a server."""

    async def stopped(seconds: float) -> None:
        redis.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            redis.send(signal.SIGCONT)

    async def killed(seconds: float) -> None:
        redis.kill()
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(redis.start)

    return {"Redis stopped": stopped, "Redis killed": killed}


class Troublemaker:
    """Makes trouble.

    Args:
        servers: which it kills and restarts.
        outages: what it does to their inbox.
        account: what it did goes into it.
        chance: of all that is random.
        pause: seconds between two troubles, on the average.
    """

    def __init__(
        self, servers: Sequence[Server], outages: Outages, account: Account, *, chance: random.Random, pause: float
    ) -> None:
        self._servers = servers
        self._outages = outages
        self._account = account
        self._chance = chance
        self._pause = pause

    async def kill_and_restart(self, seconds: float) -> None:
        """Kill, restart and take the inbox away, for so long."""
        others = {"kill": self._kill, "rolling restart": self._restart}
        await self._make(["kill", "kill", "rolling restart", *self._outages], others, seconds)

    async def only_outages(self, seconds: float) -> None:
        """Take the inbox away now and then, for so long, and let the processes live."""
        await self._make(list(self._outages), {}, seconds)

    async def _make(
        self, names: list[str], others: Mapping[str, Callable[[], Awaitable[None]]], seconds: float
    ) -> None:
        longest = min(LONGEST_OUTAGE, self._pause)
        until = monotonic() + seconds
        left: list[str] = []
        while True:
            pause = self._pause * self._chance.uniform(0.5, 1.5)
            if monotonic() + pause + longest > until:
                break
            await asyncio.sleep(pause)
            if not left:
                left = self._chance.sample(names, len(names))
            name = left.pop()
            with self._account.trouble(name):
                if name in others:
                    await others[name]()
                else:
                    await self._outages[name](self._chance.uniform(0.3, 1) * longest)
        await asyncio.sleep(until - monotonic())

    async def _kill(self) -> None:
        server = self._chance.choice(self._servers)
        await server.die()
        await server.up()

    async def _restart(self) -> None:
        """Do what a new release does: end one and start it again, then the other."""
        for server in self._chance.sample(self._servers, len(self._servers)):
            await server.down()
            await server.up()
