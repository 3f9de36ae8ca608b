"""Side by side: every way to receive notifications, in alternating rounds."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .machine import Unavailable
from .measuring import Contestant, Load, Measurement, Workshop

BARE = Contestant("bare Starlette route", "bare", handles=False)
HANDWRITTEN = Contestant("hand-written Starlette", "handwritten")
HANDWRITTEN_REDIS = Contestant("hand-written with Redis", "handwritten-redis", redis=True)
EXPRESS = Contestant("Express", "express")
EXPRESS_REDIS = Contestant("Express with Redis", "express", redis=True)
OURS = Contestant("ours, memory", "ours", inbox="memory:")
OURS_SQLITE = Contestant("ours, SQLite", "ours", inbox="sqlite:///{folder}/inbox.db")
OURS_REDIS = Contestant("ours, Redis", "ours", inbox="{redis}", redis=True)

ALL = (BARE, HANDWRITTEN, EXPRESS, OURS, OURS_SQLITE, HANDWRITTEN_REDIS, EXPRESS_REDIS, OURS_REDIS)

SMALL, LARGE = 3_000, 30_000
"""Bytes of the two kinds of bodies."""

TARGETS: dict[tuple[str, str], dict[int, float]] = {
    (OURS.name, HANDWRITTEN.name): {SMALL: 1.6, LARGE: 2.0},
    (OURS.name, EXPRESS.name): {SMALL: 2.4, LARGE: 2.0},
    (OURS.name, BARE.name): {SMALL: 0.65},
    (OURS_SQLITE.name, OURS.name): {SMALL: 0.5},
    (OURS_SQLITE.name, EXPRESS_REDIS.name): {SMALL: 1.2, LARGE: 1.0},
    (OURS_REDIS.name, HANDWRITTEN_REDIS.name): {SMALL: 1.8, LARGE: 2.0},
    (OURS_REDIS.name, EXPRESS_REDIS.name): {SMALL: 1.0, LARGE: 1.0},
}
"""The least that the first should be, as a multiple of the second."""

Rounds = dict[str, list[Measurement]]
"""The measurements of each contestant, by its name."""


def run_rounds(workshop: Workshop, contestants: Iterable[Contestant], load: Load, *, rounds: int) -> Rounds:
    """Measure everybody once a round, in turn, so that a slow minute of the machine hits all of them.

    A contestant for which the machine lacks something is left out, and standard error says so.
    """
    results: Rounds = {contestant.name: [] for contestant in contestants}
    left = list(contestants)
    for number in range(rounds):
        for contestant in list(left):
            print(f"round {number + 1}: {contestant.name}", file=sys.stderr, flush=True)
            try:
                results[contestant.name].append(workshop.measure(contestant, load))
            except Unavailable as reason:
                left.remove(contestant)
                print(f"SKIPPED {contestant.name}: {reason}", file=sys.stderr)
    return {name: measurements for name, measurements in results.items() if measurements}


def reading_items(contestants: Sequence[Contestant]) -> list[Contestant]:
    """Return the same with handlers that look into the item."""
    return [replace(contestant, reads_item=True) for contestant in contestants]


def median_rate(measurements: Sequence[Measurement]) -> float:
    """Return the median of the rounds, in notifications a second."""
    return statistics.median(measurement.rate for measurement in measurements)


def ratio(results: Rounds, ours: str, other: str) -> float:
    """Return how many times as fast one is as the other: the median of the ratios within each round."""
    return statistics.median(a.rate / b.rate for a, b in zip(results[ours], results[other], strict=True))


def cpu_ratio(results: Rounds, ours: str, other: str) -> float:
    """Return the same by processor time, which other work on the machine disturbs less."""
    return statistics.median(b.cpu_us / a.cpu_us for a, b in zip(results[ours], results[other], strict=True))
