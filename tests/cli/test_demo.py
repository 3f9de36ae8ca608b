"""``demo`` runs the demonstration of the examples."""

from __future__ import annotations

import os
import subprocess

from tests.cli.conftest import COMMAND, ROOT


def test_the_demonstration() -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*COMMAND, "demo"], capture_output=True, text=True, check=False, cwd=ROOT, env=environ, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "All was as it should be." in done.stdout
    assert "handled conversation.user.created" in done.stdout
