"""Measure how fast notifications are received: ``python -m tests.benchmarks.receive [SCENARIO]``.

See README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from starlette_intercom.handling.runner import CONCURRENCY

from . import growth
from .compare import ALL, LARGE, SMALL, Rounds, reading_items, run_rounds
from .endurance import million, steady
from .machine import LOAD_CORE, SERVER_CORE, Unavailable, compile_load
from .measuring import Load, Workshop
from .notifications import write_requests
from .passthrough import passthrough
from .path import path
from .report import machine, plot, print_ratios, print_rounds, print_table

_FASTEST: Final = 40_000  # notifications a second; for so many the files have enough


def main() -> None:
    """Run a scenario."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        sys.exit("SKIPPED: a core for the server and another one for the load are needed.")
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        _SCENARIOS[options.scenario](options, Path(folder))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", choices=_SCENARIOS, default="compare")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant is measured (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (3; steady: 60)")
    parser.add_argument(
        "--only", default="", help="contestants whose names contain one of these words, comma-separated"
    )
    parser.add_argument("--inbox", choices=("memory", "sqlite"), default="sqlite", help="of the backlog (sqlite)")
    parser.add_argument("--count", type=int, default=1_000_000, help="notifications of the memory scenario (a million)")
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="deliveries at once while steady")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"), help="folder for JSON and SVG files")
    return parser.parse_args()


def _compare(options: argparse.Namespace, folder: Path) -> None:
    wanted = [word.strip().lower() for word in options.only.split(",")]
    contestants = [each for each in ALL if any(word in each.name.lower() for word in wanted)]
    if options.scenario == "items":
        contestants = reading_items(contestants)
    workshop, by_size = _workshop(folder), {}
    for size in (SMALL, LARGE):
        load = _load(folder, size, options.seconds)
        by_size[size] = run_rounds(workshop, contestants, load, rounds=options.rounds)
        print_rounds(f"Bodies of {size // 1000} KB, 32 connections", by_size[size])
    print_ratios(by_size)
    _keep(options, {f"{size // 1000} KB": results for size, results in by_size.items()})


def _grow(options: argparse.Namespace, folder: Path) -> None:
    measure = growth.handlers if options.scenario == "handlers" else growth.connections
    results = measure(_workshop(folder), _load(folder, SMALL, options.seconds), rounds=options.rounds)
    print_rounds(f"Bodies of {SMALL // 1000} KB", results)
    _keep(options, {f"{SMALL // 1000} KB": results})


def _backlog(options: argparse.Namespace, folder: Path) -> None:
    found = growth.backlog(options.inbox, folder)
    rows = [(f"{each.waiting:,}", *(f"{us:.0f}" for us in (each.accept, each.claim, each.complete))) for each in found]
    print_table(("waiting", "accept µs", "claim µs", "complete µs"), rows)
    _write(options, {options.inbox: [asdict(each) for each in found]})


def _passthrough(options: argparse.Namespace, folder: Path) -> None:
    found = passthrough()
    print_table(("", *found), [("µs a request", *(f"{us:.3f}" for us in found.values()))])
    _write(options, found)


def _path(options: argparse.Namespace, folder: Path) -> None:
    by_size = {size: path(size) for size in (SMALL, LARGE)}
    rows = [(f"{size // 1000} KB", *(f"{us:.1f}" for us in found.values())) for size, found in by_size.items()]
    print_table(("µs a notification", *by_size[SMALL]), rows)
    _write(options, {f"{size // 1000} KB": found for size, found in by_size.items()})


def _memory(options: argparse.Namespace, folder: Path) -> None:
    requests = folder / "many"
    write_requests(requests, size=SMALL, count=options.count)
    found = million(_workshop(folder), requests)
    print_table(("notifications", "resident MiB"), [(f"{count:,}", f"{mib:.0f}") for count, mib in found])
    _write(options, found)


def _steady(options: argparse.Namespace, folder: Path) -> None:
    found, memory = steady(_workshop(folder), _load(folder, SMALL, options.seconds), concurrency=options.concurrency)
    print_rounds(
        f"2,500 a second for {options.seconds:g} s, SQLite, handlers wait for 50 ms", {"ours, SQLite": [found]}
    )
    milliseconds = {name: f"{us / 1000:.1f}" for name, us in found.latency_us.items()}
    print_table(("", *milliseconds), [("answer, ms", *milliseconds.values())])
    print_table(("notifications", "resident MiB"), [(f"{count:,}", f"{mib:.0f}") for count, mib in memory])
    print(f"Everything was handled {found.settle:.2f} s after the last answer.")
    _write(options, {"measurement": asdict(found), "memory": memory})


_SCENARIOS: Final[dict[str, Callable[[argparse.Namespace, Path], None]]] = {
    "compare": _compare,
    "items": _compare,
    "passthrough": _passthrough,
    "handlers": _grow,
    "connections": _grow,
    "backlog": _backlog,
    "path": _path,
    "memory": _memory,
    "steady": _steady,
}


def _workshop(folder: Path) -> Workshop:
    try:
        return Workshop(folder, compile_load(folder))
    except Unavailable as reason:
        sys.exit(f"SKIPPED: {reason}, and the load generator is written in C.")


def _load(folder: Path, size: int, seconds: float) -> Load:
    load = Load(folder / f"requests-{size}", seconds=seconds)
    write_requests(load.requests, size=size, count=round((load.warmup + seconds) * _FASTEST))
    return load


def _keep(options: argparse.Namespace, by_case: dict[str, Rounds]) -> None:
    cases = {
        case: {name: [asdict(measurement) for measurement in every] for name, every in results.items()}
        for case, results in by_case.items()
    }
    _write(options, cases)
    plot(options.output / f"{options.scenario}.svg", by_case)


def _write(options: argparse.Namespace, found: object) -> None:
    document = {"scenario": options.scenario, "machine": machine(), "found": found}
    path = options.output / f"{options.scenario}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
