"""What lasts: memory after a million notifications, and the highest rate at which Intercom delivers."""

from __future__ import annotations

from dataclasses import replace

from .compare import OURS, OURS_SQLITE
from .machine import Server
from .measuring import Load, Measurement, Workshop

HIGHEST_RATE = 2_500.0
"""Notifications a second: the most that Intercom delivers with priority, in its largest region."""


class _Watch:
    """Notes how a server's memory goes."""

    def __init__(self) -> None:
        self.memory: list[float] = []

    def __call__(self, server: Server) -> None:
        self.memory.append(server.memory())


def million(workshop: Workshop, load: Load, *, count: int) -> list[tuple[int, float]]:
    """Send so many notifications to the memory inbox, as fast as they are taken.

    Returns:
        How far it had come, and the resident MiB then, ten times.
    """
    watch = _Watch()
    rate = workshop.measure(OURS, load).rate
    long = replace(load, warmup=0.0, seconds=count / rate)
    workshop.measure(OURS, long, watch=watch)
    step = max(1, len(watch.memory) // 10)
    done = [round((index + 1) / len(watch.memory) * count) for index in range(len(watch.memory))]
    return list(zip(done, watch.memory, strict=True))[::step]


def steady(workshop: Workshop, load: Load) -> tuple[Measurement, list[float]]:
    """Send at Intercom's highest rate, whatever the server does, to the SQLite inbox; handlers wait for 50 ms."""
    watch = _Watch()
    contestant = replace(OURS_SQLITE, sleep=0.05)
    measurement = workshop.measure(contestant, replace(load, rate=HIGHEST_RATE, connections=256), watch=watch)
    return measurement, watch.memory
