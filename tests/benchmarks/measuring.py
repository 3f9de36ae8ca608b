"""One measurement: a fresh server, the load, and the check that each notification was handled exactly once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from starlette_intercom import ConfigurationError
from starlette_intercom.handling.runner import CONCURRENCY
from starlette_intercom.inbox.urls import inbox_from_url

from .machine import (
    LOAD_CORE,
    SERVER_CORE,
    Server,
    Unavailable,
    free_port,
    install_express,
    python_server,
    redis_server,
    running,
)
from .notifications import PATH, SECRET
from .servers.tally import CAPACITY

_SETTLE_TIMEOUT: Final = 120.0  # seconds for the last handlers to finish


@dataclass(frozen=True)
class Contestant:
    """One way to receive notifications.

    Attributes:
        name: how it is called in tables.
        kind: of the server: one of ``serve.KINDS``, or ``express``.
        inbox: URL of ours; ``{folder}`` becomes a new folder.
        redis: it needs a Redis, which starts empty.
        handles: it runs a handler for each notification.
        handlers: how many are registered.
        concurrency: how many deliveries ours runs at the same time.
        sleep: seconds that a handler waits.
        reads_item: handlers look into the item.
    """

    name: str
    kind: str
    inbox: str = ""
    redis: bool = False
    handles: bool = True
    handlers: int = 1
    concurrency: int = CONCURRENCY
    sleep: float = 0.0
    reads_item: bool = False


@dataclass(frozen=True)
class Load:
    """How a server is loaded.

    Attributes:
        requests: the file of notifications.
        connections: how many are open.
        warmup: seconds before the measured ones.
        seconds: measured.
        rate: requests a second in an open loop; 0 for a closed loop.
        ends_with_file: it is over when all notifications are sent, however long that takes.
    """

    requests: Path
    connections: int = 32
    warmup: float = 0.5
    seconds: float = 3.0
    rate: float = 0.0
    ends_with_file: bool = False


@dataclass(frozen=True)
class Measurement:
    """What came out.

    Attributes:
        rate: notifications a second, answered and handled: the time until the last handler was done counts.
        cpu_us: microseconds of the server's processor time for each notification, of all its threads.
        settle: seconds from the last answer until everything was handled and recorded.
        latency_us: percentiles of the time until the answer.
        answered: requests in all.
        memory: resident MiB of the server in the end.
    """

    rate: float
    cpu_us: float
    settle: float
    latency_us: dict[str, int]
    answered: int
    memory: float


class _Result(TypedDict):
    """What the load generator prints."""

    answered: int
    measured: int
    seconds: float
    exhausted: bool
    latest_sending_us: int
    statuses: dict[str, int]
    latency_us: dict[str, int]


class Workshop:
    """What measurements share: the folder for files, and what was built in it."""

    def __init__(self, folder: Path, load_program: Path) -> None:
        self.folder = folder
        self._load_program = load_program
        self._express: list[str] | None = None
        self._count = 0

    def measure(
        self, contestant: Contestant, load: Load, *, watch: Callable[[Server], None] | None = None
    ) -> Measurement:
        """Measure once.

        Args:
            contestant: what is measured.
            load: what it has to bear.
            watch: called about each half second while the load runs.

        Raises:
            Unavailable: the machine lacks something for this contestant.
            AssertionError: an answer was not 200, or a notification was not handled exactly once.
        """
        with self._serving(contestant) as server:
            before = server.cpu_seconds()
            result = self._run_load(server, load, watch)
            ended = time.monotonic()
            answered = result["answered"]
            assert result["statuses"] == {"200": answered}, f"{contestant.name}: answers {result['statuses']}"
            assert result["exhausted"] == load.ends_with_file, "the file does not have as many notifications as needed"
            if contestant.handles:
                _await_handled(server, contestant, answered)
            settle = time.monotonic() - ended
            cpu = server.cpu_seconds() - before
            return Measurement(
                rate=result["measured"] / (result["seconds"] + settle),
                cpu_us=cpu / answered * 1e6,
                settle=settle,
                latency_us=result["latency_us"],
                answered=answered,
                memory=server.memory(),
            )

    @contextmanager
    def _serving(self, contestant: Contestant) -> Iterator[Server]:
        self._count += 1
        folder = self.folder / f"run-{self._count}"
        folder.mkdir()
        port = free_port()
        with ExitStack() as stack:
            redis = stack.enter_context(redis_server(folder / "redis")) if contestant.redis else ""
            if contestant.kind == "express":
                command, environ = self._express_server(contestant, port, redis)
            else:
                inbox = _checked(contestant.inbox.format(folder=folder, redis=redis))
                options = ["--sleep", str(contestant.sleep), "--handlers", str(contestant.handlers)]
                options += ["--concurrency", str(contestant.concurrency)]
                options += ["--reads-item"] if contestant.reads_item else []
                options += ["--inbox", inbox, "--redis", redis]
                command, environ = python_server(contestant.kind, port, *options), {}
            yield stack.enter_context(running(command, port=port, core=SERVER_CORE, environ=environ))
        shutil.rmtree(folder)

    def _express_server(self, contestant: Contestant, port: int, redis: str) -> tuple[list[str], dict[str, str]]:
        if self._express is None:
            self._express = install_express(self.folder / "express")
        environ = {
            "NODE_ENV": "production",
            "PORT": str(port),
            "SECRET": SECRET,
            "WEBHOOK_PATH": PATH,
            "REDIS_URL": redis,
            "SLEEP_MS": str(contestant.sleep * 1000),
            "READS_ITEM": str(int(contestant.reads_item)),
            "CAPACITY": str(CAPACITY),
        }
        return self._express, environ

    def _run_load(self, server: Server, load: Load, watch: Callable[[Server], None] | None) -> _Result:
        figures = (server.port, load.requests, load.connections, load.warmup, load.seconds, load.rate)
        process = subprocess.Popen(
            [self._load_program, *map(str, figures)],
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}),
        )
        with process:
            while watch is not None and process.poll() is None:
                watch(server)
                time.sleep(0.5)
            output, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError("The load generator has failed; what it said stands above.")
        result: _Result = json.loads(output)
        return result


def _checked(inbox: str) -> str:
    """Return the URL of an inbox that this version of the library has."""
    try:
        if inbox:
            inbox_from_url(inbox)
    except ConfigurationError as error:
        raise Unavailable(str(error)) from None
    return inbox


def _await_handled(server: Server, contestant: Contestant, answered: int) -> None:
    until = time.monotonic() + _SETTLE_TIMEOUT
    while True:
        tally = server.handled()
        if tally["handled"] >= answered and not tally["unfinished"]:
            break
        assert time.monotonic() < until, f"{contestant.name}: {answered} answered, but {tally}"
        time.sleep(0.02)
    assert tally["handled"] == tally["different"] == answered, f"{contestant.name}: {answered} answered, but {tally}"
