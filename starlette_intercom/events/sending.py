"""One request on its way to Intercom: its turn in the rate window, its tries, its deadline."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

import anyio

from ..errors import EventApiError, IntercomUnavailable, RateLimited
from .answers import error_of, is_worth_retrying
from .http import HttpClient, HttpResponse, is_connection_trouble
from .window import RateWindow, WindowReport, read_report, retry_after

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
# Answers to requests that are under way may shorten a wait for the window.
_LONGEST_NAP = 0.25


def pause_before(attempt: int, chance: float) -> float:
    """Tell how long to wait before the next try, doubling each time.

    Args:
        attempt: how many tries have failed, from 1.
        chance: a random number from 0 up to 1, so that many clients do not come back at once.

    Returns:
        Seconds, at most 30.
    """
    return min(_FIRST_PAUSE * 2.0 ** min(attempt - 1, 16), _LONGEST_PAUSE) * (0.5 + chance / 2)


class _Tries:
    """What became of the tries of one request so far."""

    def __init__(self) -> None:
        self.begun = False
        self.failed = 0
        self.last: EventApiError | None = None

    def out_of_time(self) -> EventApiError:
        """Make the error for a deadline that ran out."""
        if self.last is not None:
            return self.last
        if self.begun:
            return IntercomUnavailable("Intercom could not be reached before the deadline")
        return RateLimited("The rate window had no room for the request before the deadline", status=None)


class Sender:
    """Sends requests: at most so many at once, paced by the rate window, tried again while that makes sense.

    One sender is shared by all ways of sending, so that they share the window.

    Args:
        http_client: what sends.
        base_address: where to, without a slash at its end.
        headers: the headers of every request; None if the client has them.
        access_token: the token in them, to be kept out of errors.
        window: the rate window.
        concurrency: requests under way at once.
        timeout: seconds for one try.
    """

    def __init__(
        self,
        http_client: HttpClient,
        *,
        base_address: str,
        headers: Mapping[str, str] | None,
        access_token: str,
        window: RateWindow,
        concurrency: int,
        timeout: float,
    ) -> None:
        self._http_client = http_client
        self._base_address = base_address
        self._headers = headers
        self._access_token = access_token
        self._window = window
        self._timeout = timeout
        # In front of the pool, where waiting is cheap and does not count against a try's time.
        self._connections = anyio.Semaphore(concurrency, fast_acquire=True)
        self._turn = anyio.Lock(fast_acquire=True)

    async def request(
        self, method: str, path: str, body: bytes | None = None, *, deadline: float | None, repeatable: bool = True
    ) -> HttpResponse:
        """Send a request until it has been answered for good.

        Args:
            method: the HTTP method.
            path: where to, from the slash on, with its query.
            body: what to send.
            deadline: seconds for all tries together; None for as long as it takes.
            repeatable: False if Intercom must not act on the request twice: then it is only sent again after a 429,
                which Intercom did not act on.

        Returns:
            The answer, which is a success.

        Raises:
            EventApiError: Intercom refused it, or could not be reached before the deadline.
        """
        tries = _Tries()
        url = self._base_address + path
        if deadline is None:
            return await self._until_answered(method, url, body, tries, repeatable)
        with anyio.move_on_after(deadline):
            return await self._until_answered(method, url, body, tries, repeatable)
        raise tries.out_of_time()

    async def _until_answered(
        self, method: str, url: str, body: bytes | None, tries: _Tries, repeatable: bool
    ) -> HttpResponse:
        while True:
            async with self._connections:
                await self._wait_for_turn()
                answer, report, received = await self._try(method, url, body, tries)
            if answer is not None:
                status = answer.status_code
                if 200 <= status < 300:
                    return answer
                wait = retry_after(answer.headers)
                if status == 429 and wait is None and report is not None:
                    wait = self._window.reset_after(report, received, wall_clock=time.time())
                tries.failed += 1
                tries.last = error_of(status, answer.content, secret=self._access_token, reset_after=wait)
                if not is_worth_retrying(status) or not (repeatable or status == 429):
                    raise tries.last
                if status == 429 and wait is not None:
                    # For everybody, and not all at the same moment in every process.
                    self._window.block(received, wait + random.uniform(0.0, 0.05))  # noqa: S311 - spreads load
                    if tries.failed == 1:
                        continue
                await anyio.sleep(max(wait or 0.0, pause_before(tries.failed, random.random())))  # noqa: S311
            else:
                tries.failed += 1
                if not repeatable and tries.last is not None:
                    raise tries.last
                await anyio.sleep(pause_before(tries.failed, random.random()))  # noqa: S311 - spreads load

    async def _wait_for_turn(self) -> None:
        """Wait until the rate window has room. First come, first served."""
        if not self._turn.locked() and self._window.take(anyio.current_time()) == 0.0:
            return
        async with self._turn:
            while (wait := self._window.take(anyio.current_time())) > 0.0:  # noqa: ASYNC110 - waits for time, not for an event
                await anyio.sleep(min(wait, _LONGEST_NAP))

    async def _try(
        self, method: str, url: str, body: bytes | None, tries: _Tries
    ) -> tuple[HttpResponse | None, WindowReport | None, float]:
        """Send the request once; the answer is None where there was none."""
        tries.begun = True
        sent = anyio.current_time()
        answer: HttpResponse | None = None
        report: WindowReport | None = None
        try:
            with anyio.move_on_after(self._timeout):
                answer = await self._http_client.request(method, url, content=body, headers=self._headers)
        except Exception as error:
            kind = type(error).__name__
            if not is_connection_trouble(error):
                # The user's own client: a hook of theirs, or a client that is closed.
                raise EventApiError(f"The HTTP client failed with {kind}") from error
            tries.last = IntercomUnavailable(f"Intercom could not be reached ({kind})")
        else:
            if answer is None:
                tries.last = IntercomUnavailable(f"Intercom did not answer within {self._timeout:g} s")
            else:
                report = read_report(answer.headers)
        finally:
            received = anyio.current_time()
            if report is None:
                self._window.lost()
            else:
                self._window.answered(report, sent, received, wall_clock=time.time())
        return answer, report, received
