"""The arithmetic of Intercom's rate limit: when may the next request go out?

Intercom counts requests in windows of 10 seconds and tells with every answer how large the window is, what remains of
it and when it ends. Nothing here reads a clock: every method is told the time, in seconds of a monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache

WINDOW = 10.0
"""Seconds of a window of Intercom's."""

_LONGEST_WINDOW = 60.0
"""A reset further away than this is a clock that is wrong, not a window."""

_BURST = 20
"""Requests that may go out at once after a pause; as many as our own pool has connections."""


@dataclass(frozen=True, slots=True)
class WindowReport:
    """What the headers of one answer say about the window.

    Attributes:
        limit: requests a window.
        remaining: what is left of them.
        reset: when the window ends, in Unix seconds of Intercom's clock.
        date: when the answer was made, in Unix seconds of Intercom's clock; None without a ``Date`` header.
    """

    limit: int
    remaining: int
    reset: float
    date: float | None = None


def read_report(headers: Mapping[str, str]) -> WindowReport | None:
    """Read the rate headers of an answer.

    Args:
        headers: the answer's headers, found in any case.

    Returns:
        The report, or None where a header is missing or makes no sense.
    """
    limit = _number(headers.get("x-ratelimit-limit"))
    remaining = _number(headers.get("x-ratelimit-remaining"))
    reset = _number(headers.get("x-ratelimit-reset"))
    if limit is None or limit < 1 or remaining is None or reset is None:
        return None
    return WindowReport(int(limit), int(remaining), reset, http_date(headers.get("date")))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After``, which Intercom does not send today but proxies do.

    Args:
        headers: the answer's headers, found in any case.

    Returns:
        Seconds to wait, at most an hour; None where there is no such header or it makes no sense.
    """
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is None:
        until, date = http_date(text), http_date(headers.get("date"))
        if until is None or date is None:
            return None
        seconds = max(until - date, 0.0)
    return min(seconds, 3600.0)


@lru_cache(maxsize=8)
def http_date(text: str | None) -> float | None:
    """Read a ``Date`` header.

    Args:
        text: the header's value; answers of one second share it, so the last few are remembered.

    Returns:
        Unix seconds, or None.
    """
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


class ServerClock:
    """What Intercom's clock shows, from the ``Date`` of its answers.

    A date has whole seconds, but the answers of a second together narrow it down: Intercom's clock was at least at the
    date when the answer came in, and less than a second past it when the request went out.
    """

    def __init__(self) -> None:
        self._least = -math.inf
        self._most = math.inf

    def observe(self, date: float, sent: float, received: float) -> None:
        """Take in the date of one answer.

        Args:
            date: the answer's ``Date`` in Unix seconds.
            sent: when the request went out.
            received: when the answer came in.
        """
        least, most = date - received, date + 1.0 - sent
        if least > self._most or most < self._least:
            # One of the clocks was set: begin anew.
            self._least, self._most = least, most
        else:
            self._least, self._most = max(least, self._least), min(most, self._most)

    def surely_past(self, moment: float) -> float | None:
        """Tell when Intercom's clock has passed a moment for certain.

        Args:
            moment: Unix seconds of Intercom's clock.

        Returns:
            The time on our own monotonic clock; None before the first observation.
        """
        return None if self._least == -math.inf else moment - self._least


class RateWindow:
    """Decides when the next request may go out, so that the window is used evenly, up to its end, and not beyond.

    Before the first answer nothing is known, and requests are not held back. From then on they are spread over what is
    left of the window. Every answer corrects the count, so that processes that share the limit slow each other down.

    Args:
        share: the part of each window that this process may use, above 0 and up to 1.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._clock = ServerClock()
        self._limit: int | None = None
        self._remaining = 0
        self._in_flight = 0
        self._own = 0  # requests of ours in this window
        self._reset = -math.inf  # end of the last window that was reported, on Intercom's clock
        self._ends = -math.inf  # end of the present window, on our clock
        self._assumed = False  # the present window has not been reported yet …
        self._began = -math.inf  # … and was assumed to begin then
        self._next = -math.inf  # when the next request is due if they go out evenly
        self._blocked_until = -math.inf

    @property
    def limit(self) -> int | None:
        """Requests a window, once an answer has told."""
        return self._limit

    def take(self, now: float) -> float:
        """Ask to send one request.

        Args:
            now: the time.

        Returns:
            0 if it may go out, and then it is counted; otherwise the seconds after which to ask again.
        """
        if now < self._blocked_until:
            return self._blocked_until - now
        if self._limit is not None:
            if now >= self._ends:
                self._begin_window(now, self._limit)
            left = self._ends - now
            allowance = min(self._remaining - self._in_flight, self._limit * self._share - self._own)
            if allowance < 1:
                # Answers that are still on their way may show that there is more to use than it seems.
                return min(left, 0.02) if self._in_flight else left
            interval = left / allowance
            # What has become due in a pause may go out at once, up to the burst.
            due = max(self._next, now - _BURST * interval)
            if due > now:
                return due - now
            self._next = due + interval
            self._own += 1
        self._in_flight += 1
        return 0.0

    def lost(self) -> None:
        """Note that a request that was taken had no answer, or one that says nothing about the window."""
        self._in_flight -= 1
        self._remaining -= 1

    def answered(self, report: WindowReport, sent: float, received: float, *, wall_clock: float) -> None:
        """Note that a request that was taken has been answered, and what the answer says.

        Args:
            report: the rate headers of the answer.
            sent: when the request went out.
            received: when the answer came in.
            wall_clock: our own Unix time, used only where the answer has no ``Date``.
        """
        self._in_flight -= 1
        if report.date is not None:
            self._clock.observe(report.date, sent, received)
        if report.reset == self._reset:
            ends = received + self.reset_after(report, received, wall_clock=wall_clock)
            if not self._assumed:
                self._remaining = min(self._remaining, report.remaining)
                self._ends = min(self._ends, ends)
            elif sent >= self._began:
                # The window was not over yet when we thought so. (Otherwise this is a late answer of it.)
                self._assumed = False
                self._remaining, self._ends = report.remaining, ends
            return
        if self._reset - _LONGEST_WINDOW <= report.reset < self._reset:
            return  # a late answer, too
        if not self._assumed:
            self._own = 1 + self._in_flight
        self._assumed = False
        self._reset = report.reset
        self._ends = received + self.reset_after(report, received, wall_clock=wall_clock)
        self._limit = report.limit
        self._remaining = report.remaining

    def block(self, now: float, seconds: float) -> None:
        """Hold everything back, after a 429.

        Args:
            now: the time.
            seconds: for how long.
        """
        self._blocked_until = max(self._blocked_until, now + seconds)

    def reset_after(self, report: WindowReport, now: float, *, wall_clock: float) -> float:
        """Tell how long the window of a report still runs.

        Args:
            report: the rate headers of an answer.
            now: the time.
            wall_clock: our own Unix time, used only where the answer has no ``Date``.

        Returns:
            Seconds, zero or more, and never more than a window can have.
        """
        ends = self._clock.surely_past(report.reset) if report.date is not None else None
        left = ends - now if ends is not None else report.reset - wall_clock
        # A clock that is far off must neither stop us for hours nor let us run.
        return max(left, 0.0) if -1.0 <= left <= _LONGEST_WINDOW else WINDOW

    def _begin_window(self, now: float, limit: int) -> None:
        """The window is over. Until an answer reports the next one, assume that it is as large and just began."""
        self._began = now
        self._ends = now + WINDOW
        self._assumed = True
        self._remaining = limit
        self._own = 0
