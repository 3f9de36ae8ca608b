"""What lasts: memory after a million notifications, and the highest rate at which Intercom delivers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .compare import OURS, OURS_SQLITE
from .machine import Server
from .measuring import Load, Measurement, Workshop

HIGHEST_RATE = 2_500.0
"""Notifications a second: the most that Intercom delivers with priority, in its largest region."""


_LONGEST = 3600.0  # seconds for a million notifications


class _Watch:
    """Notes how a server's memory goes: how many notifications it had handled, and its resident MiB then."""

    def __init__(self) -> None:
        self.memory: list[tuple[int, float]] = []

    def __call__(self, server: Server) -> None:
        self.memory.append((server.handled()["handled"], server.memory()))

    def some(self) -> list[tuple[int, float]]:
        """Return about ten of the points."""
        step = max(1, len(self.memory) // 10)
        return [*self.memory[::step], self.memory[-1]]


def million(workshop: Workshop, requests: Path) -> list[tuple[int, float]]:
    """Send all notifications of a file to the memory inbox, as fast as they are taken.

    Returns:
        How many had been handled, and the resident MiB then.
    """
    watch = _Watch()
    workshop.measure(OURS, Load(requests, warmup=0.0, seconds=_LONGEST, ends_with_file=True), watch=watch)
    return watch.some()


def steady(workshop: Workshop, load: Load, *, concurrency: int) -> tuple[Measurement, list[tuple[int, float]]]:
    """Send at Intercom's highest rate, whatever the server does, to the SQLite inbox; handlers wait for 50 ms."""
    watch = _Watch()
    contestant = replace(OURS_SQLITE, sleep=0.05, concurrency=concurrency)
    measurement = workshop.measure(contestant, replace(load, rate=HIGHEST_RATE, connections=256), watch=watch)
    return measurement, watch.some()
