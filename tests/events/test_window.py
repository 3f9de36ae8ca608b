"""The arithmetic of the rate window, on a clock of the test's own."""

from __future__ import annotations

import heapq
import math
import random
from email.utils import formatdate

import pytest

from starlette_intercom.events.window import RateWindow, ServerClock, WindowReport, http_date, read_report, retry_after

LIMIT = 1667


class SimulatedIntercom:
    """Windows of 10 seconds on a clock that is `skew` ahead of everybody else's."""

    def __init__(self, *, limit: int, skew: float) -> None:
        self.limit = limit
        self.skew = skew
        self.windows: dict[float, int] = {}
        self.rejected = 0

    def answer(self, now: float) -> tuple[bool, WindowReport]:
        now += self.skew
        start = math.floor(now / 10) * 10.0
        accepted = self.windows.get(start, 0) < self.limit
        if accepted:
            self.windows[start] = self.windows.get(start, 0) + 1
        else:
            self.rejected += 1
        # Whole seconds, as in the headers.
        report = WindowReport(self.limit, self.limit - self.windows[start], start + 10, float(math.floor(now)))
        return accepted, report


def simulate(
    server: SimulatedIntercom, windows: list[RateWindow], *, seconds: float, latency: float, seed: int = 1
) -> None:
    """Let processes with 20 connections each send as much as their windows allow."""
    chance = random.Random(seed)
    wall = 1_700_000_003.0  # the windows do not begin when we do
    order = 0
    queue: list[tuple[float, int, int, float | None, WindowReport | None]] = []
    free = [20] * len(windows)

    def push(at: float, process: int, sent: float | None, report: WindowReport | None) -> None:
        nonlocal order
        order += 1
        heapq.heappush(queue, (at, order, process, sent, report))

    for process in range(len(windows)):
        push(0.0, process, None, None)
    while queue:
        now, _, process, sent, report = heapq.heappop(queue)
        if now > seconds:
            return
        window = windows[process]
        if sent is not None and report is None:  # arrives at the server
            accepted, report = server.answer(wall + now)
            push(now + latency * chance.uniform(0.3, 0.7), process, sent, report)
            if not accepted:
                window.block(now, 0.1)
            continue
        if sent is not None and report is not None:  # the answer arrives
            window.answered(report, sent, now, wall_clock=wall + now)
            free[process] += 1
        while free[process]:
            wait = window.take(now)
            if wait > 0:
                if sent is None:  # one timer a process; answers only take what is free at once
                    # A timer is late by up to a millisecond and a half.
                    push(now + min(wait, 0.25) + chance.uniform(0, 0.0015), process, None, None)
                break
            free[process] -= 1
            push(now + latency * chance.uniform(0.3, 0.7), process, now, None)
        else:
            if sent is None:
                push(now + 0.001, process, None, None)


@pytest.mark.parametrize("skew", [0.0, 3600.37, -86_400.91])
@pytest.mark.parametrize("latency", [0.002, 0.05])
def test_one_process_uses_every_full_window_and_never_goes_beyond(skew: float, latency: float) -> None:
    server = SimulatedIntercom(limit=LIMIT, skew=skew)
    simulate(server, [RateWindow()], seconds=60, latency=latency)
    assert server.rejected == 0
    full = [used for _, used in sorted(server.windows.items())][1:-1]
    assert len(full) >= 4
    assert min(full) >= 0.95 * LIMIT


def test_two_processes_share_the_limit() -> None:
    server = SimulatedIntercom(limit=LIMIT, skew=12.3)
    simulate(server, [RateWindow(), RateWindow()], seconds=60, latency=0.02)
    assert server.rejected <= 0.01 * sum(server.windows.values())
    full = [used for _, used in sorted(server.windows.items())][1:-1]
    assert min(full) >= 0.95 * LIMIT


def test_a_small_limit_is_kept_too() -> None:
    server = SimulatedIntercom(limit=83, skew=0.0)
    simulate(server, [RateWindow()], seconds=60, latency=0.1)
    assert server.rejected == 0
    assert min([used for _, used in sorted(server.windows.items())][1:-1]) >= 0.9 * 83


def test_a_share_of_the_limit_is_not_exceeded() -> None:
    server = SimulatedIntercom(limit=1000, skew=0.0)
    simulate(server, [RateWindow(0.3)], seconds=60, latency=0.02)
    full = [used for _, used in sorted(server.windows.items())][1:-1]
    # Requests on their way across the end of a window may count in the next one.
    assert min(full) >= 280
    assert max(full) <= 320


def test_the_requests_are_spread_over_the_window() -> None:
    window = RateWindow()
    assert window.take(100.0) == 0.0
    window.answered(WindowReport(1000, 999, 50, 40.0), 100.0, 100.0, wall_clock=0.0)
    sent, now = 0, 100.0
    while now < 105.0:
        wait = window.take(now)
        if wait == 0.0:
            sent += 1
            window.lost()
        now += wait
    assert 480 <= sent <= 540  # half of the window, and the burst


def test_nothing_is_held_back_before_the_limit_is_known() -> None:
    window = RateWindow()
    assert [window.take(0.0) for _ in range(50)] == [0.0] * 50
    assert window.limit is None


def test_a_window_that_was_thought_to_be_over_is_found_not_to_be() -> None:
    window = RateWindow()
    window.take(0.0)
    window.answered(WindowReport(5, 0, reset=1_010.0, date=1_000.0), 0.0, 0.1, wall_clock=0.0)
    assert window.take(5.0) > 0
    assert window.take(10.2) == 0.0  # by our reckoning the next window
    window.answered(WindowReport(5, 0, reset=1_010.0, date=1_009.0), 10.2, 10.3, wall_clock=0.0)
    assert 0 < window.take(10.3) <= 1.0
    assert window.take(11.4) == 0.0


def test_a_429_holds_everything_back() -> None:
    window = RateWindow()
    window.block(10.0, 3.0)
    assert window.take(10.0) == 3.0
    assert window.take(13.0) == 0.0


@pytest.mark.parametrize("wall_clock", [0.0, 995.0, 4_000_000_000.0])
def test_the_end_of_the_window_comes_from_the_date_and_not_from_our_clock(wall_clock: float) -> None:
    window = RateWindow()
    window.take(50.0)
    report = WindowReport(100, 0, reset=1_000.0, date=997.0)
    window.answered(report, 50.0, 50.1, wall_clock=wall_clock)
    assert window.reset_after(report, 50.1, wall_clock=wall_clock) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("reset", "expected"),
    [(1_003.0, 3.0), (1_000.0, 0.0), (10_000.0, 10.0), (5.0, 10.0)],
)
def test_without_a_date_our_clock_is_believed_within_reason(reset: float, expected: float) -> None:
    window = RateWindow()
    assert window.reset_after(WindowReport(100, 0, reset), 0.0, wall_clock=1_000.0) == pytest.approx(expected)


def test_the_servers_clock_is_narrowed_down_and_found_anew_when_it_is_set() -> None:
    clock = ServerClock()
    assert clock.surely_past(0.0) is None
    for step in range(100):  # the server is 5.5 s ahead
        now = step * 0.037
        clock.observe(math.floor(now + 5.5), now, now + 0.001)
    assert clock.surely_past(100.0) == pytest.approx(94.5, abs=0.05)
    clock.observe(5000.0, 4.0, 4.001)
    assert clock.surely_past(5010.0) == pytest.approx(14.0, abs=0.01)


@pytest.mark.parametrize(
    "changed",
    [
        {"x-ratelimit-limit": "zero"},
        {"x-ratelimit-limit": "0"},
        {"x-ratelimit-limit": None},
        {"x-ratelimit-remaining": "-3"},
        {"x-ratelimit-reset": "nan"},
        {"x-ratelimit-reset": "1e999"},
        {"x-ratelimit-reset": ""},
    ],
)
def test_headers_that_make_no_sense_are_no_report(changed: dict[str, str | None]) -> None:
    headers = {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "4", "x-ratelimit-reset": "10"}
    assert read_report(headers) == WindowReport(5, 4, 10.0, None)
    kept = {key: value for key, value in {**headers, **changed}.items() if value is not None}
    assert read_report(kept) is None


@pytest.mark.parametrize("text", ["", "yesterday", "Mon, 99 Nov 2026 99:99:99 GMT", "\x00", None])
def test_a_date_that_is_none_is_ignored(text: str | None) -> None:
    assert http_date(text) is None


def test_retry_after_in_seconds_and_as_a_date() -> None:
    now = 1_700_000_000.0
    assert retry_after({}) is None
    assert retry_after({"retry-after": "7"}) == 7.0
    assert retry_after({"retry-after": "999999"}) == 3600.0
    dated = {"retry-after": formatdate(now + 9, usegmt=True), "date": formatdate(now, usegmt=True)}
    assert retry_after(dated) == 9.0
    assert retry_after({"retry-after": "soon"}) is None
