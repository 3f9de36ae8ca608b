"""What the middleware costs a request that is none of its business, in one process and without a server."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starlette_intercom import Intercom, IntercomMiddleware

from .notifications import SECRET

_CALLS: Final = 50_000
_ROUNDS: Final = 15
_PATHS: Final = ("/", "/orders/1001", "/webhooks/other")


class _Wrapper:
    """The least that a middleware can do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def passthrough() -> dict[str, float]:
    """Return microseconds a request: the wrapper that does nothing, the middleware, and the difference."""
    return asyncio.run(_passthrough())


async def _passthrough() -> dict[str, float]:
    apps: dict[str, ASGIApp] = {
        "wrapper": _Wrapper(_app),
        "middleware": IntercomMiddleware(_app, intercom=Intercom(SECRET)),
    }
    rounds: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(_ROUNDS):
        for name, app in apps.items():
            rounds[name].append(await _time(app))
    differences = [slow - fast for slow, fast in zip(rounds["middleware"], rounds["wrapper"], strict=True)]
    found = {name: statistics.median(every) for name, every in rounds.items()}
    return {**found, "difference": statistics.median(differences)}


async def _time(app: ASGIApp) -> float:
    scopes: list[Scope] = [{"type": "http", "method": "GET", "path": path, "root_path": ""} for path in _PATHS]
    began = time.perf_counter()
    for _ in range(_CALLS // len(scopes)):
        for scope in scopes:
            await app(scope, _receive, _send)
    return (time.perf_counter() - began) / _CALLS * 1e6


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing, at no cost."""


async def _receive() -> Message:
    return {"type": "http.request"}


async def _send(message: Message) -> None:
    """Send it nowhere."""
