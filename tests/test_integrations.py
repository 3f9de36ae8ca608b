"""Every way to put the library into an app receives a delivery, and leaves the rest of the app alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starlette_intercom import (
    ConfigurationError,
    HandlerRegistry,
    Intercom,
    IntercomMiddleware,
    Notification,
    compose_lifespans,
    get_intercom,
)
from tests.asgi import call, deliver, nothing, until
from tests.factories import SECRET, envelope

pytestmark = pytest.mark.anyio

PATH = "/webhooks/intercom"
State = dict[str, object]


@pytest.fixture
def handled() -> list[str | None]:
    return []


@pytest.fixture
def intercom(handled: list[str | None]) -> Intercom:
    intercom = Intercom(SECRET)

    @intercom.on("*")
    async def handle(notification: Notification) -> None:
        handled.append(notification.id)

    return intercom


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[State]:
    """Be a server around an app: start it, give its state to requests, stop it."""
    state: State = {}
    started, stop, stopped = anyio.Event(), anyio.Event(), anyio.Event()
    incoming: list[Message] = [{"type": "lifespan.startup"}]

    async def receive() -> Message:
        if incoming:
            return incoming.pop()
        await stop.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Message) -> None:
        assert message["type"].endswith(".complete"), message
        (stopped if started.is_set() else started).set()

    async def run() -> None:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}, receive, send)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await started.wait()
            yield state
            stop.set()
            await stopped.wait()


async def assert_receives(app: ASGIApp, handled: list[str | None], path: str = PATH, **scope: Any) -> None:
    """Check that a signed delivery is handled, once, and that nobody gets in without a signature."""
    async with serving(app) as state:
        scope["state"] = state
        assert (await deliver(app, envelope(id="a"), path=path, **scope)).json == {"received": True}
        await until(lambda: handled == ["a"])
        copy = await deliver(app, envelope(id="a"), path=path, **scope)
        assert copy.json == {"received": True, "duplicate": True}
        assert (await call(app, [envelope(id="b")], path=path, **scope)).status == 401
        assert (await call(app, method="HEAD", path=path, **scope)).status == 200
    assert (await deliver(app, envelope(id="c"), path=path, **scope)).status == 503
    assert handled == ["a"]


async def home(request: Request) -> JSONResponse:
    found = [request.app.state.intercom, request.state.intercom, get_intercom(request)]
    return JSONResponse({"the same": all(one is found[0] for one in found)})


async def test_starlette(intercom: Intercom, handled: list[str | None]) -> None:
    app = Starlette(routes=[Route("/", home)], middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
    async with serving(app) as state:
        assert (await call(app, method="GET", path="/", state=state)).json == {"the same": True}
    await assert_receives(app, handled)


async def test_starlette_with_a_path_of_ones_own(intercom: Intercom, handled: list[str | None]) -> None:
    app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/hooks/é/")])
    assert (await call(app, path=PATH)).status == 404
    await assert_receives(app, handled, path="/hooks/é/")


async def test_fastapi(intercom: Intercom, handled: list[str | None]) -> None:
    app = FastAPI()
    app.add_middleware(IntercomMiddleware, intercom=intercom)
    handlers = HandlerRegistry()
    also: list[str] = []

    @handlers.on("conversation.user.created")
    def in_a_thread(notification: Notification) -> None:
        also.append(notification.topic)

    intercom.include(handlers)

    @app.get("/secrets")
    async def secrets(found: Annotated[Intercom, Depends(get_intercom)]) -> dict[str, int]:
        assert found is intercom
        return dict(found.secret_uses)

    async with serving(app) as state:
        await deliver(app, envelope(id="first"), state=state)
        await until(lambda: handled and also)
        assert (await call(app, method="GET", path="/secrets", state=state)).json == {"1": 1}
        assert PATH not in (await call(app, method="GET", path="/openapi.json", state=state)).json["paths"]
    handled.clear()
    await assert_receives(app, handled)


async def test_an_app_without_intercom_says_so() -> None:
    app = Starlette(routes=[Route("/", home)])
    app.state.intercom = "something else"

    with pytest.raises(ConfigurationError, match="This app has no Intercom"):
        get_intercom(Request({"type": "http", "app": app, "headers": []}))


async def test_any_asgi_app_that_is_wrapped(intercom: Intercom, handled: list[str | None]) -> None:
    app = IntercomMiddleware(nothing, intercom=intercom)
    assert (await call(app, path="/anything")).status == 204
    await assert_receives(app, handled)


async def test_a_whole_starlette_app_that_is_wrapped(intercom: Intercom, handled: list[str | None]) -> None:
    inner = Starlette(routes=[Route("/", home)], middleware=[Middleware(GZipMiddleware)])
    app = IntercomMiddleware(GZipMiddleware(inner), intercom=intercom)
    async with serving(app) as state:
        assert (await call(app, method="GET", path="/", state=state)).json == {"the same": True}
    await assert_receives(app, handled)


async def test_a_route(intercom: Intercom, handled: list[str | None]) -> None:
    app = Starlette(lifespan=intercom.lifespan, routes=[Route("/", home), Route(PATH, intercom.webhooks)])
    async with serving(app) as state:
        assert (await call(app, method="GET", path="/", state=state)).json == {"the same": True}
        assert (await call(app, method="PUT", path=PATH, state=state)).status == 405
    await assert_receives(app, handled)


async def test_a_route_in_fastapi(intercom: Intercom, handled: list[str | None]) -> None:
    app = FastAPI(lifespan=intercom.lifespan)
    app.router.routes.append(Route(PATH, intercom.webhooks))
    await assert_receives(app, handled)


async def test_a_mount_is_reached_with_a_slash_at_the_end(intercom: Intercom, handled: list[str | None]) -> None:
    app = Starlette(lifespan=intercom.lifespan, routes=[Mount(PATH, app=intercom.webhooks)])
    for method in ("POST", "HEAD"):
        answer = await call(app, method=method, path=PATH)
        assert (answer.status, answer.headers["location"]) == (307, f"http://localhost{PATH}/")
    await assert_receives(app, handled, path=f"{PATH}/")


async def test_lifespans_of_ones_own_beside_it(intercom: Intercom, handled: list[str | None]) -> None:
    journal: list[str] = []

    @asynccontextmanager
    async def own(app: Starlette) -> AsyncIterator[dict[str, object]]:
        journal.append("up")
        yield {"database": "connected"}
        journal.append(f"down after {handled}")

    app = Starlette(lifespan=compose_lifespans(own, intercom.lifespan), routes=[Route(PATH, intercom.webhooks)])
    async with serving(app) as state:
        assert state == {"database": "connected", "intercom": intercom}
        await deliver(app, envelope(id="last"), state=state)
    assert journal == ["up", "down after ['last']"]
    handled.clear()
    await assert_receives(app, handled)


@pytest.mark.parametrize(
    ("root_path", "path"),
    [("/api", "/api" + PATH), ("/api/", "/api" + PATH), ("/api", PATH), ("/a/b", "/a/b" + PATH), ("", PATH)],
)
async def test_a_root_path_by_either_convention(
    intercom: Intercom, handled: list[str | None], root_path: str, path: str
) -> None:
    app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
    other = await call(app, path="/another" + PATH, root_path=root_path)
    assert other.status == 404
    await assert_receives(app, handled, path=path, root_path=root_path)


async def test_fastapi_with_a_root_path(intercom: Intercom, handled: list[str | None]) -> None:
    app = FastAPI()
    app.add_middleware(IntercomMiddleware, intercom=intercom)
    await assert_receives(app, handled, path="/api" + PATH, root_path="/api")


async def test_the_middleware_in_a_mounted_app(intercom: Intercom, handled: list[str | None]) -> None:
    inner = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
    app = Starlette(lifespan=intercom.lifespan, routes=[Mount("/sub", app=inner)])
    await assert_receives(app, handled, path=f"/sub{PATH}")


async def test_the_middleware_of_a_mount(intercom: Intercom, handled: list[str | None]) -> None:
    mount = Mount("/sub", routes=[], middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
    await assert_receives(Starlette(lifespan=intercom.lifespan, routes=[mount]), handled, path=f"/sub{PATH}")


async def test_what_is_not_on_the_path_passes_untouched(intercom: Intercom) -> None:
    seen: list[tuple[Scope, Receive, Send]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    middleware = IntercomMiddleware(app, intercom=intercom)
    scopes: list[Scope] = [
        {"type": "http", "path": "/"},
        {"type": "http", "path": PATH + "/"},
        {"type": "http", "path": "/x" + PATH, "root_path": ""},
        {"type": "websocket", "path": "/live", "root_path": "/api"},
        {"type": "something.newer"},
    ]
    for scope in scopes:
        await middleware(scope, receive, send)
    assert all(given[0] is scope for given, scope in zip(seen, scopes, strict=True))
    assert all(given[1:] == (receive, send) for given in seen)


async def test_a_websocket_on_the_path_is_refused(intercom: Intercom) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await IntercomMiddleware(nothing, intercom=intercom)({"type": "websocket", "path": PATH}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize("path", ["", "/", "webhooks/intercom", None, 42, "/webhooks/intercom?x=1", "/a#b", "/%69"])
def test_a_path_that_cannot_match_is_refused(intercom: Intercom, path: object) -> None:
    with pytest.raises(ConfigurationError, match="path"):
        IntercomMiddleware(nothing, intercom=intercom, path=path)  # type: ignore[arg-type]


def test_an_intercom_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="intercom="):
        IntercomMiddleware(nothing, intercom=SECRET)  # type: ignore[arg-type]
