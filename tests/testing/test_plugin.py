"""The pytest plugin, in runs of pytest as a user has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = "pytest_starlette_intercom"

TESTS = """
import pytest
from starlette_intercom import EventsClient, HandlerRegistry, Notification

handlers = HandlerRegistry()

@handlers.on("contact.user.created")
async def greet(notification: Notification, events: EventsClient) -> None:
    await events.track("greeted-contact", user_id="u1")

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.fixture
def intercom_handlers():
    return handlers

@pytest.mark.anyio
async def test_kit(intercom_kit, fake_intercom):
    assert (await intercom_kit.deliver("contact.user.created")).received
    await intercom_kit.drain()
    assert intercom_kit.events == fake_intercom.events
    assert len(intercom_kit.inbox.handled) == len(fake_intercom.events) == 1

@pytest.mark.anyio
async def test_events(events_client, fake_intercom):
    await events_client.track("placed-order", user_id="u1")
    assert fake_intercom.events[0]["event_name"] == "placed-order"

def test_fake(fake_intercom):
    assert fake_intercom.events == []
"""


def pytest_run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugin and anyio's, whatever is installed."""
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-p", "anyio.pytest_plugin", "-p", PLUGIN, "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory, env=environ, timeout=60)


def test_the_fixtures_on_both_event_loops(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(TESTS)
    done = pytest_run(tmp_path)
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_a_run_that_does_not_use_it_does_not_load_the_library(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(
        "import sys\ndef test_nothing():\n    assert not {'starlette_intercom', 'httpx'} & set(sys.modules)\n"
    )
    done = pytest_run(tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_coverage_sees_the_librarys_own_lines(tmp_path: Path) -> None:
    pytest.importorskip("pytest_cov", reason="needs pytest-cov: pip install pytest-cov")
    (tmp_path / "test_app.py").write_text("import starlette_intercom\ndef test_nothing():\n    pass\n")
    (tmp_path / "coverage.ini").write_text("[run]\ninclude = */starlette_intercom/version.py\n")
    done = pytest_run(tmp_path, "-p", "pytest_cov", "--cov", "--cov-config=coverage.ini", "--cov-report=json:seen.json")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    files = json.loads((tmp_path / "seen.json").read_text())["files"]
    (seen,) = [file["summary"] for name, file in files.items() if name.endswith("version.py")]
    assert seen["percent_covered"] == 100


def test_it_is_found_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"starlette_intercom": PLUGIN}
    assert f"{PLUGIN}.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
