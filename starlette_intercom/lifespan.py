"""The lifespan protocol, for a middleware and for ``Starlette(lifespan=…)``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import messages
from .messages import logger

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager["Mapping[str, Any] | None"]]
"""What Starlette and FastAPI take as ``lifespan=``: with a state, or without."""


def compose_lifespans(*lifespans: Lifespan) -> Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """Make one lifespan of several: entered in order, left in reverse, their states put together.

    Put your own first: handlers may then use what it made, until they are drained::

        Starlette(lifespan=compose_lifespans(own, intercom.lifespan))
    """

    @asynccontextmanager
    async def composed(app: Any) -> AsyncIterator[dict[str, Any]]:
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            for lifespan in lifespans:
                entered: Mapping[str, Any] | None = await stack.enter_async_context(lifespan(app))
                state.update(entered or {})
            yield state

    return composed


class Lifecycle(Protocol):
    """What is started and stopped with an app."""

    async def open(self, scope: Scope, app: ASGIApp, task_group: TaskGroup) -> None:
        """Get ready, before the app starts; the group lives until after :meth:`close`."""

    async def start(self) -> None:
        """Begin to work, now that the app has started."""

    async def drain(self) -> None:
        """Finish, while the app's resources still exist."""

    async def close(self) -> None:
        """Let go of everything, after the app has stopped. Does nothing where it was not opened."""


class LifespanResponder:
    """Takes an app and a lifecycle through one lifespan, for a server.

    The lifecycle is opened before the app starts, so that a wrong setting stops the start-up; it begins to work when
    the app has started and is drained before the app stops, since the app's resources exist just then. An app that
    knows nothing of lifespans is left alone, and the lifecycle goes through it by itself.
    """

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle, scope: Scope, receive: Receive, send: Send) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._scope = scope
        self._receive = receive
        self._send = send
        self._startup: Message | None = None
        self._answered = False  # the app has said how its start-up went
        self._over = False  # the app has been told to stop, or has failed to start
        self._failure: Exception | None = None  # why ours failed to start
        self._last: Message | None = None  # what the app said last, kept until nothing of ours is left
        self._app_scope = anyio.CancelScope()

    async def run(self) -> None:
        """Serve the lifespan connection.

        Raises:
            Exception: what stopped the start-up, once the server was told of it; or what the app raised.
        """
        self._startup = await self._receive()
        async with anyio.create_task_group() as group:
            raised = await self._run(group)
        # The server hears the end only now: then it ends the process, or cancels this task.
        if self._failure is not None:
            failure = f"{type(self._failure).__name__}: {self._failure}"
            await self._send({"type": "lifespan.startup.failed", "message": failure})
        elif self._last is not None:
            await self._send(self._last)
        if raised is not None:  # kept out of the group, which would wrap it
            raise raised

    async def _run(self, group: TaskGroup) -> Exception | None:
        """Take both through the lifespan; return what is to be raised when everything has been let go."""
        try:
            await self._lifecycle.open(self._scope, self._app, group)
        except Exception as error:
            self._failure = error
            return error
        try:
            await self._run_app()
        except Exception as error:
            return self._failure or error
        finally:
            await self._let_go()
        return self._failure

    async def _run_app(self) -> None:
        try:
            with self._app_scope:
                await self._app(self._scope, self._receive_for_app, self._send_for_app)
        except Exception:
            if self._answered:
                raise
            logger.debug(messages.lifespan_unsupported(), exc_info=True)
        if not self._answered:
            await self._send_for_app({"type": "lifespan.startup.complete"})
        if not self._over and self._failure is None:  # it leaves before its time, and ours goes on
            await self._receive_for_app()
            await self._send_for_app({"type": "lifespan.shutdown.complete"})

    async def _receive_for_app(self) -> Message:
        if self._last is not None:  # it listens on after its end, which would hold up the server
            self._app_scope.cancel()
            await anyio.sleep_forever()
        if self._startup is not None and not self._answered:
            message, self._startup = self._startup, None
            return message
        if self._failure is not None:  # the server will be told that nothing was started: have the app stop
            return {"type": "lifespan.shutdown"}
        message = await self._receive()
        if message["type"] == "lifespan.shutdown":
            self._over = True
            await self._lifecycle.drain()
        return message

    async def _send_for_app(self, message: Message) -> None:
        if self._failure is not None:  # it stops for us, which is not the server's business
            return
        if message["type"] == "lifespan.startup.complete":
            self._answered = True
            try:
                await self._lifecycle.start()
            except Exception as error:
                self._failure = error
                return
            await self._send(message)
        else:
            self._answered = self._over = True
            self._last = message
            await self._let_go()

    async def _let_go(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._lifecycle.drain()
            await self._lifecycle.close()
