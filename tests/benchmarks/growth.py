"""What grows: handlers, connections, and the backlog."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import anyio

from starlette_intercom import Inbox, MemoryInbox, VerifiedBody, VerifiedNotification
from starlette_intercom.inbox.urls import inbox_from_url
from starlette_intercom.notification import dedupe_key_of

from .compare import HANDWRITTEN, OURS, Rounds, run_rounds
from .measuring import Load, Workshop
from .notifications import bodies

_BACKLOG_BODY = 1_500  # bytes
_CONCURRENCY = 32
_PROBES = 2_000  # notifications that go through the inbox while the backlog waits


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


def backlog(kind: str) -> Iterator[tuple[int, float, float, float]]:
    """Measure an inbox by itself while more and more deliveries wait in it.

    Args:
        kind: ``memory`` or ``sqlite``.

    Yields:
        How many were waiting, and the microseconds that one more accept, claim, and completion took.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inbox.db"
        # The memory inbox refuses more than its bounds, which are lower than this, unless it is told otherwise.
        inbox = (
            MemoryInbox(max_unfinished=1_000_000, max_bytes=2**32)
            if kind == "memory"
            else inbox_from_url(f"sqlite:///{path}")
        )
        yield from anyio.run(_backlog, inbox)


async def _backlog(inbox: Inbox) -> list[tuple[int, float, float, float]]:
    found = []
    notifications = (
        VerifiedNotification(VerifiedBody(body, "1")) for body in bodies(_BACKLOG_BODY, 500_000 + 8 * _PROBES)
    )
    await inbox.open()
    for count in (0, 10_000, 100_000, 500_000):
        waiting = (await inbox.stats()).waiting
        await _accept(inbox, list(islice(notifications, count - waiting)))
        fresh = list(islice(notifications, _PROBES))
        accepting = await _accept(inbox, fresh)
        began = time.perf_counter()
        claims = []
        while len(claims) < _PROBES:
            claims += await inbox.claim(100, lease=600)
        claiming = time.perf_counter() - began
        began = time.perf_counter()
        async with anyio.create_task_group() as group:
            for number in range(_CONCURRENCY):
                group.start_soon(_complete, inbox, claims[number::_CONCURRENCY])
        completing = time.perf_counter() - began
        found.append((count, *(seconds / _PROBES * 1e6 for seconds in (accepting, claiming, completing))))
    await inbox.close()
    return found
