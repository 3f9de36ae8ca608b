"""Every app starts by the command in its docstring, under a real server, and takes a notification."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from starlette_intercom.testing import sample, signed
from tests.examples.conftest import EXAMPLES, FIN_SECRET, TOKEN
from tests.factories import SECRET
from tests.servers.conftest import Server

COMMANDS = {
    command: path
    for path in sorted(EXAMPLES.rglob("*.py"))
    for command in re.findall(r"uvicorn (.*--app-dir examples .*)$", path.read_text(), re.MULTILINE)
}


def test_every_app_has_a_command() -> None:
    alone = (path for path in EXAMPLES.rglob("*.py") if path.parent.name != "scale_out")  # which needs Redis
    made = {path for path in alone if re.search(r"^(app =|def create_app)", path.read_text(), re.M)}
    told = {path.parent / "app.py" if path.name == "__init__.py" else path for path in COMMANDS.values()}
    assert made == told


@pytest.mark.parametrize("command", COMMANDS)
def test_an_app_starts_and_takes_a_notification(command: str, tmp_path: Path) -> None:
    *options, app = command.replace("--app-dir examples", f"--app-dir {EXAMPLES}").split()
    environ = {
        "INTERCOM_CLIENT_SECRET": SECRET,
        "INTERCOM_ACCESS_TOKEN": TOKEN,
        "INTERCOM_FIN_SECRET": FIN_SECRET,
    }
    arguments = " ".join(["uvicorn --port {port}", *options, "{app}"])
    server = Server("uvicorn", arguments, app, tmp_path / "output.txt", environ)
    try:
        server.until_ready()
        request = signed(sample("contact.tag.created"), SECRET)
        assert server.deliver(request.body, secret=SECRET).json == {"received": True}
        assert server.deliver(request.body, secret="another").status == 401
        assert server.stop() in (0, -15)
    finally:
        server.close()
    assert "Traceback" not in server.output


def test_the_tests_of_the_testing_example_pass(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "examples/testing", "-o", f"cache_dir={tmp_path}"],
        cwd=EXAMPLES.parent,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "5 passed" in ran.stdout
