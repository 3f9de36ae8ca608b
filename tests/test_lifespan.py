"""The lifespan: the library begins after the app, drains before it, and neither harms the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starlette_intercom import ConfigurationError, Intercom, IntercomMiddleware, MemoryInbox, compose_lifespans
from starlette_intercom.lifespan import LifespanResponder
from tests.asgi import nothing
from tests.factories import SECRET

pytestmark = pytest.mark.anyio


class Recording:
    """A lifecycle that notes each of its steps, and may fail in one."""

    def __init__(self, journal: list[str], fail: str = "") -> None:
        self.journal = journal
        self.fail = fail

    async def open(self, scope: Scope, app: ASGIApp, task_group: TaskGroup) -> None:
        await self._step("open")

    async def start(self) -> None:
        await self._step("start")

    async def drain(self) -> None:
        await self._step("drain")

    async def close(self) -> None:
        await self._step("close")

    async def _step(self, name: str) -> None:
        await anyio.lowlevel.checkpoint()
        if name not in self.journal:
            self.journal.append(name)
        if name == self.fail:
            raise ConfigurationError(f"{name} does not work")


def starlette(journal: list[str], fail: str = "") -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        journal.append("app up")
        if fail == "up":
            raise ZeroDivisionError
        yield
        journal.append("app down")
        if fail == "down":
            raise ZeroDivisionError

    return Starlette(lifespan=lifespan)


async def serve(app: Callable[[Scope, Receive, Send], Awaitable[None]], journal: list[str]) -> dict[str, Any]:
    """Be a server: start the app, stop it at once, and note what it says; return the state."""
    state: dict[str, Any] = {}
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        await anyio.lowlevel.checkpoint()
        if not incoming:
            await anyio.sleep_forever()
        return incoming.pop(0)

    async def send(message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        journal.append(message["type"].removeprefix("lifespan."))
        if "does not work" in message.get("message", ""):
            journal.append(message["message"])

    with anyio.fail_after(5):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}, receive, send)
    return state


async def run(app: ASGIApp, journal: list[str], fail: str = "") -> None:
    lifecycle = Recording(journal, fail)
    await serve(lambda scope, receive, send: LifespanResponder(app, lifecycle, scope, receive, send).run(), journal)


async def test_the_library_works_exactly_while_the_app_does() -> None:
    journal: list[str] = []
    await run(starlette(journal), journal)
    assert journal == [
        "open", "app up", "start", "startup.complete", "drain", "app down", "close", "shutdown.complete"
    ]  # fmt: skip


async def test_everything_is_let_go_before_the_server_hears_of_a_failure() -> None:
    for fail, expected in {
        "open": ["open", "startup.failed", "ConfigurationError: open does not work"],
        "start": ["open", "app up", "start", "app down", "drain", "close", "startup.failed"],
    }.items():
        journal: list[str] = []
        with pytest.raises(ConfigurationError, match=f"{fail} does not work"):
            await run(starlette(journal), journal, fail)
        assert journal[: len(expected)] == expected


@pytest.mark.parametrize(
    ("fail", "end"), [("up", ["drain", "close", "startup.failed"]), ("down", ["close", "shutdown.failed"])]
)
async def test_a_failure_of_the_app_is_passed_on(fail: str, end: list[str]) -> None:
    journal: list[str] = []
    with pytest.raises(ZeroDivisionError):
        await run(starlette(journal, fail), journal)
    assert journal[-len(end) :] == end


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("no lifespan here")


async def returns(scope: Scope, receive: Receive, send: Send) -> None:
    return


async def receives_and_raises(scope: Scope, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "http.request"


async def starts_and_returns(scope: Scope, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    await send({"type": "lifespan.startup.complete"})


@pytest.mark.parametrize("app", [refuses, returns, receives_and_raises, starts_and_returns, nothing])
async def test_an_app_without_a_whole_lifespan_is_left_alone(app: ASGIApp) -> None:
    journal: list[str] = []
    await run(app, journal)
    assert journal == ["open", "start", "startup.complete", "drain", "close", "shutdown.complete"]


async def test_an_app_whose_lifespan_breaks_while_it_serves() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ZeroDivisionError

    journal: list[str] = []
    with pytest.raises(ZeroDivisionError):
        await run(breaks, journal)
    assert journal == ["open", "start", "startup.complete", "drain", "close"]


async def listens_on(scope: Scope, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


async def test_an_app_that_listens_on_after_its_end_holds_nothing_up() -> None:
    journal: list[str] = []
    await run(listens_on, journal)
    assert journal == ["open", "start", "startup.complete", "drain", "close", "shutdown.complete"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_may_cancel_the_lifespan_as_soon_as_it_hears_of_its_end() -> None:
    """Hypercorn does, and on Python 3.12 and newer it is quick enough to have ended its worker with a traceback."""
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    over = asyncio.Event()

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        if message["type"] == "lifespan.shutdown.complete":
            over.set()

    app = IntercomMiddleware(starlette([]), intercom=Intercom(SECRET))
    task = asyncio.ensure_future(app({"type": "lifespan", "state": {}}, receive, send))
    await over.wait()
    task.cancel()
    await task


async def test_a_server_that_raises_when_it_hears_of_a_failure_gets_its_own_error_back() -> None:
    async def hear(message: Message) -> None:
        raise LookupError(message["message"])

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    responder = LifespanResponder(nothing, Recording([], "open"), {"type": "lifespan"}, receive, hear)
    with pytest.raises(LookupError, match="open does not work"):
        await responder.run()


async def test_a_message_of_another_kind_is_handed_on() -> None:
    journal: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(3):
            kind = (await receive())["type"].removeprefix("lifespan.")
            journal.append(f"received {kind}")
            if kind != "something.newer":
                await send({"type": f"lifespan.{kind}.complete"})

    incoming = ["startup", "something.newer", "shutdown"]

    async def receive() -> Message:
        return {"type": f"lifespan.{incoming.pop(0)}"}

    async def send(message: Message) -> None:
        journal.append(message["type"].removeprefix("lifespan."))

    await LifespanResponder(app, Recording(journal), {"type": "lifespan"}, receive, send).run()
    assert journal == [
        *["open", "received startup", "start", "startup.complete", "received something.newer"],
        *["drain", "received shutdown", "close", "shutdown.complete"],
    ]


class UnusableInbox(MemoryInbox):
    async def open(self) -> None:
        raise ConfigurationError("The file was written by a newer version: it does not work.")


async def test_an_inbox_that_cannot_be_opened_stops_the_start() -> None:
    journal: list[str] = []
    app = IntercomMiddleware(starlette(journal), intercom=Intercom(SECRET, inbox=UnusableInbox()))
    with pytest.raises(ConfigurationError):
        await serve(app, journal)
    assert journal[0] == "startup.failed"
    assert "written by a newer version" in journal[1]


async def test_started_twice_is_an_error_that_says_what_to_do() -> None:
    intercom = Intercom(SECRET)
    app = Starlette(lifespan=intercom.lifespan, middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
    with pytest.raises(ConfigurationError, match="Use either IntercomMiddleware or lifespan="):
        await serve(app, [])
    async with intercom.lifespan(Starlette()):  # what was begun was undone
        pass


async def test_the_intercom_is_in_both_states() -> None:
    intercom = Intercom(SECRET)
    journal: list[str] = []
    app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
    state = await serve(app, journal)
    assert app.state.intercom is intercom
    assert state == {"intercom": intercom}
    state = await serve(app, journal)  # again, as some servers and test clients do
    assert state == {"intercom": intercom}
    assert journal == ["startup.complete", "shutdown.complete"] * 2


@pytest.mark.parametrize("moment", ["before", "while the app starts", "as the state of its lifespan"])
async def test_a_name_that_is_taken_is_an_error(moment: str) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
        if moment == "while the app starts":
            app.state.intercom = "mine"
        yield {"intercom": "mine"} if moment == "as the state of its lifespan" else {}

    app = Starlette(lifespan=lifespan, middleware=[Middleware(IntercomMiddleware, intercom=Intercom(SECRET))])
    if moment == "before":
        app.state.intercom = "mine"
    journal: list[str] = []
    with pytest.raises(ConfigurationError, match="give that another name"):
        await serve(app, journal)
    assert journal == ["startup.failed"]


async def test_lifespans_are_put_together() -> None:
    journal: list[str] = []

    def part(name: str) -> Any:
        @asynccontextmanager
        async def lifespan(app: object) -> AsyncIterator[dict[str, str] | None]:
            journal.append(f"{name} up")
            try:
                yield None if name == "b" else {name: name.upper()}
            finally:
                journal.append(f"{name} down")

        return lifespan

    async with compose_lifespans(part("a"), part("b"), part("c"))(Starlette()) as state:
        assert state == {"a": "A", "c": "C"}
    assert journal == ["a up", "b up", "c up", "c down", "b down", "a down"]

    journal.clear()
    with pytest.raises(ZeroDivisionError):
        async with compose_lifespans(part("a"), part("b"))(Starlette()):
            raise ZeroDivisionError
    assert journal == ["a up", "b up", "b down", "a down"]
