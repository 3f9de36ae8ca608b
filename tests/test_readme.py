"""Everything that the README shows is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


# The reader's project has one, or takes both of anyio's.
BACKEND = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


def test_every_snippet_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some name a file
    monkeypatch.setenv("INTERCOM_CLIENT_SECRET", "secret")
    monkeypatch.setenv("INTERCOM_ACCESS_TOKEN", "token")
    namespace: dict[str, object] = {"__name__": "readme"}
    for snippet in SNIPPETS:
        exec(compile(snippet, "README.md", "exec"), namespace)  # noqa: S102 - our own text
    assert len(SNIPPETS) >= 8


def test_the_tests_that_it_shows_pass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("\n".join(["import pytest", *SNIPPETS, BACKEND]))
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("INTERCOM_CLIENT_SECRET", "secret")
        environ.setenv("INTERCOM_ACCESS_TOKEN", "token")
        environ.setenv("PYTHONPATH", str(ROOT))
        result = pytester.runpytest_subprocess("-p", "no:starlette_intercom", "-p", "pytest_starlette_intercom")
    result.assert_outcomes(passed=2)


def test_the_demonstration_shows_that_all_is_well() -> None:
    ran = subprocess.run(
        [sys.executable, "examples/demo.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("{") == 6  # six answers with a body, and the HEAD without
    assert "All was as it should be." in ran.stdout


def test_the_commands_are_those_that_ci_runs() -> None:
    commands = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    demonstration, tests = (command.strip() for command in commands[:2])
    assert demonstration == 'python -m pip install ".[demo]" && python examples/demo.py'
    assert tests == 'python -m pip install -e ".[test]" && python -m pytest'
    ci = (ROOT / ".ci" / "run").read_text()
    assert "python examples/demo.py" in ci
    assert "python -m pytest" in ci
