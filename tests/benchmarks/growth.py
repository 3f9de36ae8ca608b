"""What grows: handlers, connections, and the backlog."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import anyio

from starlette_intercom import Claim, Inbox, MemoryInbox, VerifiedBody, VerifiedNotification
from starlette_intercom.inbox.urls import inbox_from_url
from starlette_intercom.notification import dedupe_key_of

from .compare import HANDWRITTEN, OURS, Rounds, run_rounds
from .measuring import Load, Workshop
from .notifications import bodies

_WAITING: Final = (0, 10_000, 100_000, 500_000)
_BACKLOG_BODY: Final = 1_500  # bytes
_CONCURRENCY: Final = 32
_PROBES: Final = 2_000  # notifications that go through the inbox while the backlog waits


@dataclass(frozen=True)
class Backlog:
    """What one more delivery costs an inbox while others wait in it, in microseconds.

    Attributes:
        waiting: how many wait.
        accept: to accept one, 32 at the same time.
        claim: to claim one, 100 at a time.
        complete: to complete one, 32 at the same time.
    """

    waiting: int
    accept: float
    claim: float
    complete: float


def handlers(workshop: Workshop, load: Load, *, rounds: int) -> Rounds:
    """Register 1, 100 and 1,000 handlers, on different topics."""
    contestants = [replace(OURS, name=f"{count:,} handlers", handlers=count) for count in (1, 100, 1000)]
    return run_rounds(workshop, contestants, load, rounds=rounds)


def connections(workshop: Workshop, load: Load, *, rounds: int) -> Rounds:
    """Open 1, 32 and 512 connections."""
    results: Rounds = {}
    for count in (1, 32, 512):
        found = run_rounds(workshop, [HANDWRITTEN, OURS], replace(load, connections=count), rounds=rounds)
        results.update({f"{name}, {count} connections": measurements for name, measurements in found.items()})
    return results


def backlog(kind: str, folder: Path) -> list[Backlog]:
    """Measure an inbox by itself while more and more deliveries wait in it.

    Args:
        kind: ``memory`` or ``sqlite``.
        folder: for the file.
    """
    if kind == "memory":  # it refuses so many unless it is told otherwise
        return anyio.run(_backlog, MemoryInbox(max_unfinished=1_000_000, max_bytes=2**32))
    return anyio.run(_backlog, inbox_from_url(f"sqlite:///{folder}/inbox.db"))


async def _backlog(inbox: Inbox) -> list[Backlog]:
    found = []
    every = bodies(_BACKLOG_BODY, _WAITING[-1] + len(_WAITING) * _PROBES)
    notifications = (VerifiedNotification(VerifiedBody(body, "1")) for body in every)
    await inbox.open()
    for count in _WAITING:
        waiting = (await inbox.stats()).waiting
        for _ in range(waiting, count, _PROBES):
            await _accept(inbox, list(islice(notifications, _PROBES)))
        fresh = list(islice(notifications, _PROBES))
        began = time.perf_counter()
        await _accept(inbox, fresh)
        accepted = time.perf_counter()
        claims: list[Claim] = []
        while len(claims) < _PROBES:
            claims += await inbox.claim(100, lease=3600)
        claimed = time.perf_counter()
        await _complete(inbox, claims)
        completed = time.perf_counter()
        each = 1e6 / _PROBES
        found.append(
            Backlog(count, (accepted - began) * each, (claimed - accepted) * each, (completed - claimed) * each)
        )
    await inbox.close()
    return found


async def _accept(inbox: Inbox, notifications: list[VerifiedNotification]) -> None:
    async def some(number: int) -> None:
        for notification in notifications[number::_CONCURRENCY]:
            await inbox.accept(notification, key=dedupe_key_of(notification))

    await _side_by_side(some)


async def _complete(inbox: Inbox, claims: list[Claim]) -> None:
    async def some(number: int) -> None:
        for claim in claims[number::_CONCURRENCY]:
            await inbox.complete(claim)

    await _side_by_side(some)


async def _side_by_side(some: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    async with anyio.create_task_group() as group:
        for number in range(_CONCURRENCY):
            group.start_soon(some, number)
