"""An Intercom that takes events, now and then badly, and tells which it has."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from starlette_intercom.testing import FakeIntercom
from starlette_intercom.testing.fake_intercom import Fault


def faults() -> Iterator[Fault | None]:
    """Yield a fault at each tenth request."""
    while True:
        for fault in ("server_error", "reset", "lost"):
            yield from [None] * 9
            yield fault


fake = FakeIntercom(faults=faults())


async def events(request: Request) -> JSONResponse:
    return JSONResponse([event["user_id"] for event in fake.events])


app = Starlette(routes=[Route("/recorded", events), Mount("/", fake)])
