"""What the middleware costs a request that is the app's: one call of a function, and nothing else."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from starlette_intercom import Intercom, IntercomMiddleware
from tests.costs.counting import Calls, CountingLoop, Request, counting_loop
from tests.factories import SECRET

pytestmark = pytest.mark.anyio

COUNT = 100


@pytest.fixture
def anyio_backend() -> object:
    return "asyncio", {"loop_factory": CountingLoop}


async def test_another_path_costs_one_call() -> None:
    seen: list[tuple[Scope, Receive, Send]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    middleware = IntercomMiddleware(app, intercom=Intercom(SECRET))
    calls, loop = Calls(), counting_loop()
    made = [Request(b"{}", path="/orders") for _ in range(COUNT)]
    scopes = [dict(request.scope) for request in made]
    tasks, callbacks = loop.tasks.total(), loop.callbacks
    with calls.counted():
        for request in made:
            await request.make(middleware)
    assert calls == {"middleware.py:IntercomMiddleware.__call__": COUNT}, (
        f"A request on another path is to cost one call of the middleware and nothing else:\n{calls.report(COUNT)}"
    )
    assert (loop.tasks.total(), loop.callbacks) == (tasks, callbacks), "it is to start nothing"
    assert not any(request.suspensions for request in made), "it is to wait for nothing"
    for request, before, (scope, receive, send) in zip(made, scopes, seen, strict=True):
        assert scope is request.scope, "the app is to get the scope itself, without a copy"
        assert scope == before
        assert (receive, send) == (request.receive, request.send), "neither is to be wrapped"
