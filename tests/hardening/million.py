"""Sends a million hostile requests to a real server, and watches what it answers, what gets through, and what it takes.

    python -m tests.hardening.million --requests 1000000

The requests are made from the seed (hostile_requests.py, hostile_ends.py), many on each connection, while good
notifications go on coming, one at a time. Each answer has to be one that is listed for its kind of request. It ends
with 0 where everything was as it should be, and otherwise says what was not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import socket
import struct
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random

from tests.factories import SECRET
from tests.hardening.exhaustion import Finding, Target, good_ones
from tests.hardening.hostile_ends import ENDING
from tests.hardening.hostile_requests import KEEPING, UNVERIFIED, Hostile

CONNECTIONS = 24
MOST_BEFORE_THE_END = 24
ROUND = 25_000
PATIENCE = 20.0  # seconds for what has to come
LINGER = 0.1  # seconds for an answer that may come
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
RESET = struct.pack("ii", 1, 0)

Kinds = dict[str, tuple[int, Callable[[Random], Hostile]]]


@dataclass
class Tally:
    """What was sent, what was answered, and what should not have been; the first of these with their bytes."""

    sent: Counter[str] = field(default_factory=Counter)
    answers: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: list[str] = field(default_factory=list)

    def add(self, kind: str, request: Hostile, answers: list[int]) -> None:
        self.sent[kind] += 1
        self.answers[kind].update(answers)
        if not set(answers) <= request.answers or (request.answered and len(answers) != 1):
            self.complain(kind, request, f"got {answers}, not {sorted(request.answers)}")

    def complain(self, kind: str, request: Hostile, what: str) -> None:
        if len(self.wrong) < 20:
            self.wrong.append(f"{kind}: {what}: {request.data[:300]!r}")

    def take(self, other: Tally) -> None:
        self.sent.update(other.sent)
        for kind, answers in other.answers.items():
            self.answers[kind].update(answers)
        self.wrong += other.wrong

    def __str__(self) -> str:
        return "\n".join(
            f"{kind:>20}: {count:7}  {dict(self.answers[kind])}" for kind, count in self.sent.most_common()
        )


class Connection:
    """One connection on which requests are sent until one ends it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._content = b""
        self.closed = False

    @property
    def answers(self) -> list[int]:
        return [int(status) for status in STATUS.findall(self._content)]

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # it need not read what it refuses
            self._writer.write(data)
            await self._writer.drain()

    async def read(self, count: float, patience: float) -> None:
        """Read until there are so many answers, nothing comes any more, or the time is up."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(patience):
                while len(self.answers) < count:
                    content = await self._reader.read(2**16)
                    self._content += content
                    if not content:
                        self.closed = True
                        return
            return
        self.closed = isinstance(self._reader.exception(), OSError)

    def half_close(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._writer.transport.abort()


def drawn(chance: Random, kinds: Kinds, count: int) -> list[tuple[str, Hostile]]:
    names = chance.choices(list(kinds), [often for often, _ in kinds.values()], k=count)
    return [(name, kinds[name][1](chance)) for name in names]


async def one_connection(port: int, chance: Random, most: int, tally: Tally) -> int:
    """Send some requests that keep the connection, and one that ends it; return how many."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = Connection(reader, writer)
    requests = drawn(chance, KEEPING, min(chance.randint(0, MOST_BEFORE_THE_END), most - 1))
    try:
        await connection.send(b"".join(request.data for _, request in requests))
        await connection.read(len(requests), PATIENCE)
        answers = connection.answers
        for (kind, request), status in itertools.zip_longest(requests, answers[: len(requests)]):
            tally.add(kind, request, [] if status is None else [status])
        ((kind, last),) = drawn(chance, ENDING, 1)
        await connection.send(last.data)
        if last.then == "wait":
            await connection.read(len(answers) + 1, PATIENCE if last.answered else LINGER)
        if last.then != "reset" and not connection.closed:
            connection.half_close()
            await connection.read(float("inf"), PATIENCE)
            if not connection.closed:
                tally.complain(kind, last, "the connection stayed open")
        tally.add(kind, last, connection.answers[len(answers) :])
    finally:
        connection.reset()
    return len(requests) + 1


def attack_with(port: int, seed: str, count: int) -> Tally:
    """Send so many requests; runs in a process of its own, so that the good ones need not wait."""
    tally = Tally()

    async def send(chance: Random, count: int) -> None:
        while count > 0:
            count -= await one_connection(port, chance, count, tally)

    async def send_all() -> None:
        shares = [count // CONNECTIONS + (number < count % CONNECTIONS) for number in range(CONNECTIONS)]
        await asyncio.gather(*(send(Random(f"{seed}-{number}"), share) for number, share in enumerate(shares)))

    asyncio.run(send_all())
    return tally


@dataclass
class Result:
    """What a million requests did."""

    tally: Tally = field(default_factory=Tally)
    good: Finding = field(default_factory=Finding)
    seen: dict[str, float] = field(default_factory=dict)
    resident: list[float] = field(default_factory=list)
    """Megabytes after each round."""
    log: bytes = b""
    returncode: int = -1

    @property
    def shown(self) -> list[bytes]:
        """The lines in the log that should not be in it."""
        words = b"Traceback", SECRET.encode(), UNVERIFIED
        lines = self.log.splitlines()
        return [line for line in lines if line.startswith(b"FORGED") or any(word in line for word in words)]

    @property
    def complaints(self) -> list[str]:
        """What is not as it should be."""
        seen, good = self.seen, self.good
        bound = 2**20 + 1000 * seen["dead"]  # the stubs of a thousand topics, and two lines for each dead letter
        checks = {
            "something unverified got through": not any(seen[name] for name in seen if name.startswith("unverified")),
            "the app or the handlers saw nothing at all": seen["in the app"] > 0 < seen["handled"],
            "a good notification was not accepted": set(good.good_answers) == {200},
            # The last may have been cut off before its answer.
            "a good notification was not handled": seen["good"] in (len(good.good), len(good.good) + 1),
            "good notifications waited for too long": good.usual < 0.5,
            "it took more than 512 MB": good.megabytes < 512,
            "the log has no bound": len(self.log) < bound,
            f"the log shows what it must not: {self.shown[:5]}": not self.shown,
            "the server did not end in peace": self.returncode in (0, -15),
        }
        return self.tally.wrong + [what for what, right in checks.items() if not right]


def seen_by(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/seen", timeout=PATIENCE) as answer:
        return defaultdict(int, json.load(answer))


async def attack(target: Target, result: Result, requests: int, seed: str) -> None:
    """Attack in rounds; then wait until everything that was accepted is handled."""
    await target.until_up()
    loop, good, began = asyncio.get_running_loop(), result.good, time.monotonic()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as attacker:
        async with good_ones(target, "million", good):
            for first in range(0, requests, ROUND):
                arguments = target.port, f"{seed}-{first}", min(ROUND, requests - first)
                result.tally.take(await loop.run_in_executor(attacker, attack_with, *arguments))
                result.resident.append(target.megabytes("VmRSS"))
                good.seconds = time.monotonic() - began
                print(
                    f"{result.tally.sent.total():8} requests in {good.seconds:4.0f} s; {result.resident[-1]:.0f} MB; "
                    f"log of {len(target.log)} bytes; {len(good.good)} good ones, 95% in {good.usual * 1000:.0f} ms"
                )
    good.answers = sum(result.tally.answers.values(), Counter())
    good.megabytes, good.log_lines = target.megabytes("VmHWM"), target.lines
    give_up = time.monotonic() + PATIENCE
    while not result.seen or (result.seen["waiting"] + result.seen["running"] and time.monotonic() < give_up):
        result.seen = await asyncio.to_thread(seen_by, target.port)


def million(requests: int, *, seed: str = "1", options: str = "") -> Result:
    """Attack a new server with so many requests."""
    result = Result()
    with tempfile.TemporaryDirectory() as folder:
        inbox = f"sqlite:///{folder}/inbox.db"
        # Without the warnings of uvicorn, one for each request that is none.
        target = Target(Path(folder), f"tests.hardening.recording_app:app --log-level error {options}", INBOX=inbox)
        try:
            asyncio.run(attack(target, result, requests, seed))
        finally:
            result.returncode = target.stop()
            result.log = target.log
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--http", choices=("auto", "h11", "httptools"), default="auto", help="what uvicorn parses with")
    chosen = parser.parse_args()
    result = million(chosen.requests, seed=chosen.seed, options=f"--http {chosen.http}")
    print(result.tally, result.good, f"seen: {dict(result.seen)}; log of {len(result.log)} bytes", sep="\n")
    print(f"resident after each round: {', '.join(f'{each:.0f}' for each in result.resident)} MB")
    print(*(result.complaints or ["everything as it should be"]), sep="\n")
    return 1 if result.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
