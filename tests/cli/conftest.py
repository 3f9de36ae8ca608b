"""The command line, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from starlette_intercom import Failure
from starlette_intercom.cli.app import run
from starlette_intercom.inbox.sqlite import SQLiteInbox
from tests.factories import envelope, notification

ROOT = Path(__file__).parents[2]
DEADLINE = 90.0  # seconds for anything that a process is waited for
COMMAND = (sys.executable, "-m", "starlette_intercom.cli")


@dataclass
class Result:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process, in an empty directory, without a terminal."""
    monkeypatch.chdir(tmp_path)
    for variable in ("CLIENT_SECRET", "ACCESS_TOKEN", "INBOX", "REGION"):
        monkeypatch.delenv(f"INTERCOM_{variable}", raising=False)

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


class Process:
    """A command in a process of its own, with its output in files."""

    def __init__(self, directory: Path, arguments: tuple[str, ...], environ: dict[str, str]) -> None:
        self._out, self._err = directory / "stdout", directory / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{directory}", **environ},
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true while the process runs."""
        give_up = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < give_up, f"waited in vain; it said:\n{self.err}"
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.err}"
            time.sleep(0.01)

    def end(self, signal: int) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(signal)
        return self.process.wait(DEADLINE)


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start commands; whatever still runs is killed in the end."""
    processes: list[Process] = []

    def begin(*arguments: str, **environ: str) -> Process:
        directory = tmp_path / f"process{len(processes)}" if processes else tmp_path
        directory.mkdir(exist_ok=True)
        processes.append(Process(directory, arguments, environ))
        return processes[-1]

    yield begin
    for process in processes:
        process.process.kill()
        process.process.wait(DEADLINE)


@pytest.fixture
def inbox(tmp_path: Path) -> str:
    """Give the URL of an inbox with three dead letters and one waiting delivery."""
    path = tmp_path / "inbox.db"

    async def fill() -> None:
        box = SQLiteInbox(path)
        await box.open()
        for number, topic in enumerate(["contact.created", "contact.created", "conversation.deleted"]):
            item = {"type": "contact", "name": "Ada \x1b[31m"}
            await box.accept(notification(envelope(topic, id=f"n{number}", item=item)), key=f"key{number}")
            (claim,) = await box.claim(1, lease=30)
            failure = Failure(
                handler="crm.sync", attempt=1, at=1.0, error="ValueError", message="no\x1b[2J name", traceback="line 7"
            )
            await box.bury(claim, handlers=("crm.sync",), done=frozenset({"mail"}), failures=(failure,))
        await box.accept(notification(envelope(id="n9")), key="key9")
        await box.close()

    anyio.run(fill)
    return f"sqlite:///{path}"
