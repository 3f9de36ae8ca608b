"""Feeds what the library reads from outside with bytes that a coverage-guided fuzzer makes up (atheris).

    python -m tests.hardening.fuzz messages --seconds 300

Targets are ``header`` (the signature's header), ``envelope`` (a signed body), ``pattern`` (topics) and ``messages``
(the ASGI entry with any sequence of messages). They begin with tests/hardening/corpus/<target>; what they find goes
into the folder that ``--keep`` names, and what of it is worth keeping is copied from there by hand.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["starlette_intercom", "tests.hardening.fuzz_targets"]):
    from tests.hardening.fuzz_targets import CORPUS, TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="inputs at the most")
    parser.add_argument("--keep", type=Path, help="the folder for what is found; otherwise it is thrown away")
    chosen = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        found = chosen.keep or Path(folder)
        shutil.copytree(CORPUS / chosen.target, found, dirs_exist_ok=True)
        options = {
            "max_total_time": chosen.seconds,
            "runs": chosen.runs,
            "max_len": 4096,
            "timeout": 20,
            "artifact_prefix": f"{found}/",
            "print_final_stats": 1,
        }
        arguments = [f"-{name}={value}" for name, value in options.items()]
        atheris.Setup([sys.argv[0], str(found), *arguments], TARGETS[chosen.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
