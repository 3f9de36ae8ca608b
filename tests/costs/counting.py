"""Counters of what the library makes the interpreter and the event loop do; none of them looks at a clock."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, TypeVarTuple

import anyio
from starlette.types import ASGIApp, Message, Scope

import starlette_intercom
from tests.asgi import http_scope
from tests.factories import envelope, headers_of

_Ts = TypeVarTuple("_Ts")

_COUNTED = tuple(f"{Path(inspect.getfile(package)).parent}/" for package in (starlette_intercom, anyio))


@cache
def _counted_file(path: str) -> str | None:
    return Path(path).name if path.startswith(_COUNTED) else None


class Calls(Counter[str]):
    """Calls of Python functions in the files of the library and of anyio, by name.

    A coroutine counts again each time that it goes on after an await that let the event loop go on, and so does every
    coroutine that awaits it.
    """

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what this thread calls inside."""
        before = sys.getprofile()
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(before)

    def report(self, count: int) -> str:
        """Return what was called most, for each of so many notifications, as lines of text."""
        return "\n".join(f"{number / count:8.2f} {name}" for name, number in self.most_common(40))

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        file = _counted_file(frame.f_code.co_filename) if event == "call" else None
        if file is not None:
            self[f"{file}:{frame.f_code.co_qualname}"] += 1


class CountingLoop(asyncio.SelectorEventLoop):
    """The default event loop of asyncio; counts what is put on it.

    Attributes:
        tasks: that were started, by the name of their coroutine's function.
        callbacks: how often something was to be called soon; each task has itself called once for each of its turns.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks: Counter[str] = Counter()
        self.callbacks = 0

    def tasks_of_others(self, *packages: str) -> int:
        """Return how many tasks were started, without those of some packages."""
        beside = tuple(f"{package}." for package in packages)
        return sum(count for name, count in self.tasks.items() if not name.startswith(beside))

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        self.tasks[f"{coro.cr_frame.f_globals['__name__']}.{coro.__qualname__}"] += 1
        return super().create_task(coro, **options)

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.callbacks += 1
        return super().call_soon(callback, *args, context=context)


def counting_loop() -> CountingLoop:
    """Return the event loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    return loop


class Request:
    """One POST, made without a server: neither ``receive`` nor ``send`` lets the event loop go on.

    Args:
        body: is signed.
        path: of the URL.
        pieces: in so many the body comes in.

    Attributes:
        suspensions: how often the app let it go on.
        status: of the answer.
    """

    def __init__(self, body: bytes, *, path: str = "/webhooks/intercom", pieces: int = 1) -> None:
        self.scope: Scope = http_scope(path=path, headers=headers_of(body))
        self.suspensions = 0
        self.status = 0
        size = len(body) // pieces + 1
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        self._messages: Iterator[Message] = iter(
            [{"type": "http.request", "body": chunk, "more_body": chunk is not chunks[-1]} for chunk in chunks]
        )

    async def receive(self) -> Message:
        return next(self._messages)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]

    async def make(self, app: ASGIApp) -> None:
        """Have the app answer it."""
        await _Suspensions(self, app)


class _Suspensions:
    """Awaits an app as an ``await`` would, and counts on the way."""

    def __init__(self, request: Request, app: ASGIApp) -> None:
        self._request = request
        self._app = app

    def __await__(self) -> Generator[Any, Any, None]:
        request = self._request
        steps = self._app(request.scope, request.receive, request.send).__await__()
        try:
            waited_for = next(steps)
            while True:
                request.suspensions += 1
                try:
                    answer = yield waited_for
                except BaseException as error:  # a cancellation
                    waited_for = steps.throw(error)
                else:
                    waited_for = steps.send(answer)
        except StopIteration:
            return


def requests(count: int, *, first: int) -> list[Request]:
    """Make so many requests with unique, signed notifications of about 3 KB.

    Args:
        count: how many.
        first: number of the first one.
    """
    item = {"type": "conversation", "body": "x" * 2700}
    return [Request(envelope(id=f"notif_{number:08}", item=item)) for number in range(first, first + count)]


def check(spent: float, bound: float, what: str, *, details: str = "") -> None:
    """Fail where something costs more than it may.

    Args:
        spent: for each notification.
        bound: how much that may be.
        what: was counted.
        details: help to find where it comes from.
    """
    assert spent <= bound, (
        f"{what}: {spent:.2f} for each notification, where at most {bound:g} are expected. If it is wanted, raise the "
        f"bound here, and write down in tests/benchmarks/README.md what it is spent on.\n{details}"
    )
