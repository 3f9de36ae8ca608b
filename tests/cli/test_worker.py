"""``worker`` on a real SQLite inbox: works, drains on SIGTERM, and says what is wrong."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import anyio
import pytest

from starlette_intercom import Stats
from starlette_intercom.inbox.sqlite import SQLiteInbox
from tests.cli.conftest import Cli, Process, Start
from tests.factories import envelope, notification

MODULE = """
from contextlib import asynccontextmanager
from pathlib import Path
import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette_intercom import Intercom, IntercomMiddleware, Notification

intercom = Intercom("secret", inbox="sqlite:///inbox.db")

def note(text):
    with open("ledger", "a") as file:
        file.write(text + "\\n")

@intercom.on("contact.created")
async def quick(notification: Notification) -> None:
    note(notification.id)

@intercom.on("conversation.deleted")
async def slow(notification: Notification) -> None:
    note("slow began")
    while not Path("go").exists():
        await anyio.sleep(0.01)
    note("slow ended")

@asynccontextmanager
async def lifespan(app):
    note("resources open")
    yield
    note("resources closed")

app = Starlette(lifespan=lifespan, middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
plain = Starlette()
"""


def begin(start: Start, directory: Path, target: str, topics: list[str]) -> Process:
    (directory / "wired.py").write_text(MODULE)

    async def fill() -> None:
        inbox = SQLiteInbox(directory / "inbox.db")
        await inbox.open()
        for number, topic in enumerate(topics):
            await inbox.accept(notification(envelope(topic, id=f"n{number}")), key=str(number))
        await inbox.close()

    anyio.run(fill)
    return start("worker", target)


def stats_of(directory: Path) -> Stats:
    async def read() -> Stats:
        inbox = SQLiteInbox(directory / "inbox.db")
        await inbox.open()
        stats = await inbox.stats()
        await inbox.close()
        return stats

    return anyio.run(read)


def ledger(directory: Path) -> list[str]:
    file = directory / "ledger"
    return file.read_text().splitlines() if file.exists() else []


def test_it_processes_what_waits_and_sigterm_lets_running_handlers_finish(start: Start, tmp_path: Path) -> None:
    worker = begin(start, tmp_path, "wired:intercom", ["contact.created"] * 50 + ["conversation.deleted"])
    worker.until(lambda: len(ledger(tmp_path)) == 51)
    worker.process.send_signal(signal.SIGTERM)
    worker.until(lambda: "SIGTERM: running" in worker.err)
    (tmp_path / "go").touch()
    assert worker.process.wait(30) == 0
    assert ledger(tmp_path)[-1] == "slow ended"
    assert sorted(ledger(tmp_path)) == sorted([*(f"n{number}" for number in range(50)), "slow began", "slow ended"])
    assert "Worker stopped." in worker.err
    stats = stats_of(tmp_path)
    assert (stats.done, stats.waiting, stats.running, stats.dead) == (51, 0, 0, 0)


def test_the_lifespan_of_an_app_is_run_around_it(start: Start, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    worker = begin(start, tmp_path, "wired:app", ["conversation.deleted"])
    worker.until(lambda: "slow ended" in ledger(tmp_path))
    assert worker.end(signal.SIGINT) == 0
    assert ledger(tmp_path) == ["resources open", "slow began", "slow ended", "resources closed"]


def test_a_second_signal_ends_it_at_once_and_nothing_is_lost(start: Start, tmp_path: Path) -> None:
    worker = begin(start, tmp_path, "wired:intercom", ["conversation.deleted"])
    worker.until(lambda: ledger(tmp_path))
    worker.process.send_signal(signal.SIGTERM)
    worker.until(lambda: "SIGTERM: running" in worker.err)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == -signal.SIGTERM
    stats = stats_of(tmp_path)
    assert stats.waiting + stats.running == 1


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("wired", 2, "must be a module and a name"),
        ("gone:intercom", 2, "no module 'gone'"),
        ("wired:gone", 2, "'gone'"),
        ("wired:plain", 1, "started no Intercom"),
        ("broken:intercom", 1, "with ZeroDivisionError"),
        ("lacking:intercom", 1, "ModuleNotFoundError"),
        ("unset:intercom", 2, "client secret"),
        ("failing:app", 1, "ValueError"),
        ("trial:intercom", 2, "shares with your app"),
    ],
)
def test_what_cannot_be_started(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, code: int, said: str
) -> None:
    failing = "from contextlib import asynccontextmanager\nfrom starlette.applications import Starlette\n"
    failing += "@asynccontextmanager\nasync def lifespan(app):\n    raise ValueError('no database')\n    yield\n"
    modules = {
        "wired": MODULE,
        "broken": "1 / 0",
        "lacking": "import not_installed_here",
        "unset": "from starlette_intercom import Intercom\nintercom = Intercom('')",
        "trial": "from starlette_intercom import Intercom\nintercom = Intercom('secret')",
        "failing": failing + "app = Starlette(lifespan=lifespan)",
    }
    for name, content in modules.items():
        (tmp_path / f"{name}.py").write_text(content)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    result = cli("worker", target)
    assert result.code == code
    assert said in result.err
    assert result.err.splitlines()[-1].startswith("starlette-intercom: ")
    assert "Traceback" not in result.err
