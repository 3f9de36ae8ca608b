"""The same with this library."""

from __future__ import annotations

import asyncio
import logging

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from starlette_intercom import Intercom, IntercomMiddleware, Notification, TaskGroupRunner

from ..notifications import PATH, SECRET, TOPIC
from .tally import Tally


def ours(inbox: str, *, sleep: float, reads_item: bool, handlers: int, concurrency: int) -> Starlette:
    """Return an app with the middleware.

    Args:
        inbox: its URL.
        sleep: seconds that the handler waits.
        reads_item: the handler looks into the item, which is decoded only then.
        handlers: how many are registered, all but one of them for topics that do not come.
        concurrency: how many deliveries run at the same time.
    """
    logging.getLogger("starlette_intercom").setLevel(logging.ERROR)  # made-up topics are warned of
    intercom = Intercom(SECRET, inbox=inbox, runner=TaskGroupRunner(concurrency))
    tally = Tally()
    for number in range(handlers // 2):
        _register_other(intercom, number)

    @intercom.on(TOPIC)
    async def handle(notification: Notification) -> None:
        if sleep:
            await asyncio.sleep(sleep)
        if reads_item and notification.item["type"] != "conversation":
            raise ValueError("not a conversation")
        tally.add(notification.id or "")

    for number in range(handlers // 2, handlers - 1):
        _register_other(intercom, number)

    async def handled(request: Request) -> Response:
        stats = await intercom.stats()
        return JSONResponse(tally.read(unfinished=stats.waiting + stats.running + stats.scheduled + stats.dead))

    return Starlette(
        routes=[Route("/handled", handled)],
        middleware=[Middleware(IntercomMiddleware, intercom=intercom, path=PATH)],
    )


def _register_other(intercom: Intercom, number: int) -> None:
    @intercom.on(f"benchmark.topic_{number}", name=f"other-{number}")
    async def other(notification: Notification) -> None:
        raise AssertionError("this topic never comes")
