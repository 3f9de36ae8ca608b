"""The fuzzer's targets over the inputs that were kept, and for a bounded number of new ones."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hardening.fuzz_targets import CORPUS, TARGETS

KEPT = sorted(path for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_inputs_that_were_kept(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_new_inputs(target: str) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("NOT FUZZED: pip install atheris")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.hardening.fuzz", target, "--runs", "2000", "--seconds", "20"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
