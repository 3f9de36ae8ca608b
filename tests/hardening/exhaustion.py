"""Attacks a real server with what takes much for little, and watches it from outside.

    python -m tests.hardening.exhaustion --scale 20

While each attack lasts, good notifications go on coming, one at a time; how long they take is what counts, beside the
server's memory and the lines in its log.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.factories import envelope, headers_of, signature

ROOT = Path(__file__).parents[2]
LIMIT = 5 * 2**20
CONNECTIONS = 50
STATUS_OF_NOTHING = 0


@dataclass
class Finding:
    """What one attack did to the server."""

    answers: Counter[int] = field(default_factory=Counter)
    good: list[float] = field(default_factory=list)
    """Seconds that each good notification took."""
    good_answers: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    megabytes: float = 0.0
    """The most memory that the server ever took so far."""
    log_lines: int = 0

    @property
    def usual(self) -> float:
        """Seconds within which 95 of 100 good notifications were answered."""
        return sorted(self.good)[math.ceil(len(self.good) * 0.95) - 1]

    def __str__(self) -> str:
        return (
            f"{self.answers.total():7} requests in {self.seconds:5.1f} s {dict(self.answers)}; good ones "
            f"{dict(self.good_answers)}, 95% in {self.usual * 1000:.0f} ms, all in {max(self.good) * 1000:.0f} ms; "
            f"peak {self.megabytes:.0f} MB; {self.log_lines} log lines"
        )


def request_of(body: bytes, *, sign_with: bytes | None = None) -> bytes:
    """Return a whole request; the signature is that of another body where one is given."""
    headers = [one for one in headers_of(body) if one[0] != b"x-hub-signature"]
    headers.append(signature(body if sign_with is None else sign_with))
    head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return b"POST /webhooks/intercom HTTP/1.1\r\nconnection: close\r\n" + head + b"\r\n" + body


class Target:
    """A server process, and what is seen of it from outside.

    Args:
        folder: for its log.
        app: what uvicorn is to serve, and options for it.
        **environ: goes into its environment.
    """

    def __init__(self, folder: Path, app: str, **environ: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._log = folder / "log"
        options = ["--port", str(self.port), "--no-access-log", "--backlog", "4096"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", *app.split(), *options],
                stderr=log,
                stdout=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            )

    @property
    def lines(self) -> int:
        return len(self._log.read_bytes().splitlines())

    @property
    def log(self) -> bytes:
        return self._log.read_bytes()

    def megabytes(self, field: str) -> float:
        """Return what the kernel says of its memory: ``VmRSS`` now, ``VmHWM`` at its peak."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0]) / 1024

    async def until_up(self) -> None:
        for _ in range(400):
            if await ask(self.port, b"HEAD /webhooks/intercom HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n") == 200:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(self.log.decode(errors="replace"))

    async def until_idle(self) -> None:
        """Wait until it has done what it took on: what it answered is handled later."""
        used, before = self._processor_time(), -1.0
        while used - before > 0.05:
            await asyncio.sleep(0.5)
            used, before = self._processor_time(), used

    def _processor_time(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(30)


async def ask(port: int, request: bytes) -> int:
    """Send one request over a connection of its own; return the status, or 0 where there was none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return STATUS_OF_NOTHING
    with contextlib.closing(writer):
        with contextlib.suppress(OSError):  # it need not read a body that it refuses by its headers
            writer.write(request)
            await writer.drain()
        with contextlib.suppress(OSError, TimeoutError):
            line = await asyncio.wait_for(reader.readline(), 30)
            return int(line.split()[1]) if line else STATUS_OF_NOTHING
    return STATUS_OF_NOTHING


def deep(scale: int) -> Iterator[bytes]:
    """JSON of 100,000 levels: in the item, and where nobody looks."""
    nested = b"[" * 100_000 + b"]" * 100_000
    in_item = request_of(envelope(item="here").replace(b'"here"', nested))
    beside = request_of(envelope(extra="here").replace(b'"here"', nested))
    return itertools.chain(*itertools.repeat((in_item, beside), 5 * scale))


def many_keys(scale: int) -> Iterator[bytes]:
    """As many keys as go into a body."""
    keys = b",".join(b'"%x":0' % number for number in range(LIMIT // 10 - 1000))
    for number in range(2 * scale):
        yield request_of(envelope(id=f"keys-{number}", item="here").replace(b'"here"', b"{" + keys + b"}"))


def huge_numbers(scale: int) -> Iterator[bytes]:
    """Numbers that fill a body, and some that no integer type holds."""
    for digits in itertools.islice(itertools.cycle((19, 400, 5000, LIMIT - 1000)), 4 * scale):
        for number in (b"9" * digits, b"1e" + b"9" * digits, b"0." + b"1" * digits):
            yield request_of(envelope(id=f"number-{digits}", item="here").replace(b'"here"', number))


def duplicates(scale: int) -> Iterator[bytes]:
    return itertools.repeat(request_of(envelope(id="again")), 500 * scale)


def unknown_topics(scale: int) -> Iterator[bytes]:
    return (request_of(envelope(topic=f"unknown.{number}")) for number in range(500 * scale))


def bad_signatures(scale: int) -> Iterator[bytes]:
    return itertools.repeat(request_of(envelope(), sign_with=b"another"), 500 * scale)


def large_bodies(scale: int) -> Iterator[bytes]:
    return itertools.repeat(request_of(b"x" * LIMIT, sign_with=b"another"), 10 * scale)


def slow_connections(scale: int) -> Iterator[bytes]:
    """Connections that say most of what they promised, and then nothing more."""
    return itertools.repeat(request_of(envelope(id="slow"))[:-10], 100 * scale)


ATTACKS: dict[str, tuple[Callable[[int], Iterator[bytes]], set[int]]] = {
    "deep JSON": (deep, {400}),
    "many keys": (many_keys, {200, 408}),  # 408 where those before them keep the handler busy
    "huge numbers": (huge_numbers, {200, 400}),
    "duplicates": (duplicates, {200}),
    "unknown topics": (unknown_topics, {200}),
    "bad signatures": (bad_signatures, {401}),
    "large bodies": (large_bodies, {401}),
    "slow connections": (slow_connections, {408, 503}),
}
LISTED = {name: listed for name, (_, listed) in ATTACKS.items()}


def attack_with(name: str, scale: int, port: int) -> Counter[int]:
    """Make one attack, and count the answers; runs in a process of its own, so that the good ones need not wait."""
    make, _ = ATTACKS[name]
    requests = list(make(scale))
    answers: Counter[int] = Counter()

    async def send(left: Iterator[bytes]) -> None:
        for request in left:
            answers[await ask(port, request)] += 1

    async def send_all() -> None:
        left = iter(requests)
        together = len(requests) if make is slow_connections else CONNECTIONS
        await asyncio.gather(*(send(left) for _ in range(together)))

    asyncio.run(send_all())
    return answers


@contextlib.asynccontextmanager
async def good_ones(target: Target, name: str, finding: Finding) -> AsyncIterator[None]:
    """Send good notifications while something else goes on."""

    async def send() -> None:
        for number in itertools.count():
            request = request_of(envelope(id=f"good-{name}-{number}"))
            began = time.monotonic()
            finding.good_answers[await ask(target.port, request)] += 1
            finding.good.append(time.monotonic() - began)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(send())
    try:
        while not finding.good:
            await asyncio.sleep(0.01)
        yield
    finally:
        task.cancel()


async def attack(target: Target, scale: int) -> dict[str, Finding]:
    """Make one attack after the other."""
    await target.until_up()
    findings: dict[str, Finding] = {}
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as attacker:
        for name in ATTACKS:
            finding = findings[name] = Finding()
            lines, began = target.lines, time.monotonic()
            async with good_ones(target, name, finding):
                finding.answers = await loop.run_in_executor(attacker, attack_with, name, scale, target.port)
            finding.seconds = time.monotonic() - began
            await target.until_idle()
            finding.megabytes, finding.log_lines = target.megabytes("VmHWM"), target.lines - lines
    return findings


def exhaustion_test(scale: int) -> tuple[dict[str, Finding], int, bytes]:
    """Attack a new server; return what was found, how it ended, and its log."""
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder), "tests.hardening.exhausted_app:app")
        try:
            findings = asyncio.run(attack(target, scale))
        finally:
            returncode = target.stop()
        return findings, returncode, target.log


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=20, help="1 is what the tests do; 20 opens 2,000 slow connections")
    findings, returncode, _ = exhaustion_test(parser.parse_args().scale)
    wrong = 0
    for name, finding in findings.items():
        print(f"{name:>16}: {finding}")
        wrong += not set(finding.answers) <= LISTED[name] or set(finding.good_answers) != {200}
    print(f"the server ended with {returncode}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
