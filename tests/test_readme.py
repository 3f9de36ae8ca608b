"""Everything that the README shows is run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def test_every_snippet_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some name a file
    monkeypatch.setenv("INTERCOM_CLIENT_SECRET", "secret")
    monkeypatch.setenv("INTERCOM_ACCESS_TOKEN", "token")
    namespace: dict[str, object] = {"__name__": "readme"}
    for snippet in SNIPPETS:
        exec(compile(snippet, "README.md", "exec"), namespace)  # noqa: S102 - our own text
    assert len(SNIPPETS) >= 8


def test_the_test_that_it_shows_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, shown = SNIPPETS[0], next(snippet for snippet in SNIPPETS if "def test_" in snippet)
    # The one who reads has the secret in a place of their own.
    namespace: dict[str, object] = {"__name__": "readme"}
    exec(compile(first.replace("the client secret of your app", "…"), "README.md", "exec"), namespace)  # noqa: S102
    exec(compile(shown, "README.md", "exec"), namespace)  # noqa: S102
    name = next(node.name for node in ast.parse(shown).body if isinstance(node, ast.FunctionDef))
    test = namespace[name]
    assert callable(test)
    test()


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
