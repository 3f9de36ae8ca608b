"""A load of notifications: sends them from a fixed set of tasks, and sums up the answers."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio
import httpx
import msgspec

from ..testing.signing import SignedRequest, signed


class Answered(msgspec.Struct, frozen=True):
    """One answer.

    Attributes:
        status: HTTP status.
        text: the body's beginning.
        milliseconds: from the request to the whole answer.
    """

    status: int
    text: str
    milliseconds: float


class Summary(msgspec.Struct, frozen=True):
    """What became of a load; times in milliseconds unless named otherwise.

    Attributes:
        sent: requests made, copies included.
        answered: how many got an answer at all.
        statuses: how many answers had which status; ``no answer`` for none.
        duplicates: answers that said that they knew the notification.
        seconds: how long all of it took.
        per_second: requests a second.
        p50_ms: half of the answers took no longer.
        p90_ms: nine of ten took no longer.
        p99_ms: 99 of 100 took no longer.
        max_ms: the slowest.
        over_500_ms: answers that took longer than what Intercom gives priority to.
    """

    sent: int
    answered: int
    statuses: Mapping[str, int]
    duplicates: int
    seconds: float
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    over_500_ms: int


def percentile(ordered: list[float], part: float) -> float:
    """Return the smallest value that at least ``part`` (0 to 1) of the values do not exceed; 0 for no values."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0


class Load:
    """Notifications to send.

    Args:
        url: where to.
        secret: what signs them.
        make: makes the next one.
        count: how many different ones.
        copies: how often each is sent; copies follow each other.
        rate: so many requests a second at the most; None for as fast as it goes.
        concurrency: requests under way at once.
        timeout: seconds to wait for an answer.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        make: Callable[[], Mapping[str, Any]],
        *,
        count: int,
        copies: int,
        rate: float | None,
        concurrency: int,
        timeout: float,
    ) -> None:
        self.total = count * copies
        self.last: Answered | None = None
        self._url = url
        self._secret = secret
        self._make = make
        self._count = count
        self._copies = copies
        self._rate = rate
        self._concurrency = min(concurrency, count)
        self._timeout = timeout
        self._times: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._duplicates = 0

    async def run(self, on_progress: Callable[[int], None]) -> Summary:
        """Send all.

        Args:
            on_progress: told after each answer how many there are.
        """
        began = time.perf_counter()
        requests = self._requests()
        limits = httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency)
        async with httpx.AsyncClient(timeout=self._timeout, limits=limits) as client:

            async def work() -> None:
                for number, request in requests:
                    for copy in range(self._copies):
                        if self._rate is not None:
                            due = began + (number * self._copies + copy) / self._rate
                            await anyio.sleep(max(0.0, due - time.perf_counter()))
                        await self._send(client, request)
                        on_progress(self._statuses.total())

            async with anyio.create_task_group() as workers:
                for _ in range(self._concurrency):
                    workers.start_soon(work)
        return self._summary(time.perf_counter() - began)

    def _requests(self) -> Iterator[tuple[int, SignedRequest]]:
        for number in range(self._count):
            yield number, signed(self._make(), self._secret)

    async def _send(self, client: httpx.AsyncClient, request: SignedRequest) -> None:
        began = time.perf_counter()
        try:
            response = await client.post(self._url, content=request.body, headers=request.headers)
        except httpx.TransportError:
            self._statuses["no answer"] += 1
            return
        milliseconds = (time.perf_counter() - began) * 1000
        self._times.append(milliseconds)
        self._statuses[str(response.status_code)] += 1
        self._duplicates += b'"duplicate":true' in response.content.replace(b" ", b"")
        self.last = Answered(response.status_code, response.text[:500], milliseconds)

    def _summary(self, seconds: float) -> Summary:
        ordered = sorted(self._times)
        sent = self._statuses.total()
        return Summary(
            sent=sent,
            answered=len(ordered),
            statuses=dict(sorted(self._statuses.items())),
            duplicates=self._duplicates,
            seconds=seconds,
            per_second=sent / seconds,
            p50_ms=percentile(ordered, 0.5),
            p90_ms=percentile(ordered, 0.9),
            p99_ms=percentile(ordered, 0.99),
            max_ms=ordered[-1] if ordered else 0.0,
            over_500_ms=sum(milliseconds > 500 for milliseconds in ordered),
        )
