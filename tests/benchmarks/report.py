"""Results as tables on the terminal and as a plot."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from xml.sax.saxutils import escape

from .compare import TARGETS, Rounds, cpu_ratio, median_rate, ratio

_COLOURS = ("#4c78a8", "#f58518")
_BAR, _GAP, _LEFT, _WIDTH = 14, 12, 210, 760  # pixels


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a Markdown table, so that it can go into a document as it is."""
    table = [list(headings), *([str(cell) for cell in row] for row in rows)]
    first, *others = (max(map(len, column)) for column in zip(*table, strict=True))
    table.insert(1, ["-" * first, *("-" * (width - 1) + ":" for width in others)])
    for name, *figures in table:
        cells = [name.ljust(first), *(figure.rjust(width) for figure, width in zip(figures, others, strict=True))]
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def print_rounds(title: str, results: Rounds) -> None:
    """Print one line for each contestant."""
    print(f"\n{title}\n")
    rows = []
    for name, measurements in results.items():
        rates = sorted(measurement.rate for measurement in measurements)
        rows.append(
            (
                name,
                f"{median_rate(measurements):,.0f}",
                f"{rates[0]:,.0f} to {rates[-1]:,.0f}",
                f"{statistics.median(m.cpu_us for m in measurements):.0f}",
                *(f"{statistics.median(m.latency_us[p] for m in measurements) / 1000:.1f}" for p in ("p50", "p99")),
                f"{statistics.median(m.settle for m in measurements):.2f}",
            )
        )
    print_table(("", "a second", "rounds", "CPU µs each", "p50 ms", "p99 ms", "settle s"), rows)


def print_ratios(by_size: Mapping[int, Rounds]) -> None:
    """Print each promised ratio beside what came out."""
    rows = []
    for (ours, other), targets in TARGETS.items():
        for size, target in targets.items():
            results = by_size.get(size, {})
            if ours in results and other in results:
                found = ratio(results, ours, other)
                verdict = "yes" if found >= target else "NO"
                by_cpu = f"{cpu_ratio(results, ours, other):.2f}"
                rows.append((f"{ours} / {other}, {size // 1000} KB", f"{found:.2f}", by_cpu, f"{target:.2f}", verdict))
    print_table(("ratio", "by rate", "by CPU", "target", "reached"), rows)


def machine() -> dict[str, str]:
    """Return what the measurements depend on."""
    packages = ("starlette", "uvicorn", "uvloop", "httptools", "anyio", "msgspec", "redis", "hiredis")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        **{package: _version(package) for package in packages},
    }


def plot(path: Path, by_case: Mapping[str, Rounds]) -> None:
    """Draw the medians as bars, one colour for each case."""
    names = list(dict.fromkeys(name for results in by_case.values() for name in results))
    most = max(median_rate(every) for results in by_case.values() for every in results.values())
    scale = (_WIDTH - _LEFT - 70) / most
    height = 50 + len(names) * (len(by_case) * _BAR + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="18">notifications a second, one core</text>',
    ]
    for number, case in enumerate(by_case):
        x = _LEFT + 220 + number * 110
        parts.append(f'<rect x="{x}" y="9" width="10" height="10" fill="{_COLOURS[number % len(_COLOURS)]}"/>')
        parts.append(f'<text x="{x + 15}" y="18">{escape(case)}</text>')
    y = 36
    for name in names:
        middle = y + len(by_case) * _BAR / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>')
        for number, results in enumerate(by_case.values()):
            if name in results:
                rate = median_rate(results[name])
                colour = _COLOURS[number % len(_COLOURS)]
                parts.append(
                    f'<rect x="{_LEFT}" y="{y}" width="{rate * scale:.1f}" height="{_BAR - 2}" fill="{colour}"/>'
                    f'<text x="{_LEFT + rate * scale + 5:.1f}" y="{y + 11}">{rate:,.0f}</text>'
                )
            y += _BAR
        y += _GAP
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
