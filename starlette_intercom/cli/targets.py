"""``module:name`` on the command line: an ``Intercom``, or an ASGI app whose lifespan starts one."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeAlias

import anyio
import typer
from starlette.types import ASGIApp, Message

from ..errors import ConfigurationError, IntercomError
from ..intercom import Intercom
from .exits import FAILED, CommandError

TargetArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:NAME",
        help="Where the Intercom is, such as app.main:intercom; or an ASGI app, whose own lifespan is then run, too.",
        show_default=False,
    ),
]


def load(target: str) -> Intercom | ASGIApp:
    """Import what a target names; modules are also looked for in the current directory.

    Raises:
        CommandError: it cannot be imported, or is nothing that could be started.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise CommandError(f"{target!r} must be a module and a name in it, such as app.main:intercom")
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{module_name}.".startswith(f"{missing.name}."):
            raise _failed(f"Importing {module_name!r}", missing) from None
        raise CommandError(f"There is no module {missing.name!r} here: run this where it can be imported.") from None
    except ConfigurationError:
        raise
    except Exception as error:
        raise _failed(f"Importing {module_name!r}", error) from None
    for attribute in name.split("."):
        found = getattr(found, attribute, None)
    if not callable(found) and not isinstance(found, Intercom):
        raise CommandError(f"The module {module_name!r} has no Intercom and no ASGI app by the name {name!r}.")
    started_by: Intercom | ASGIApp = found
    return started_by


def _failed(what: str, error: Exception) -> CommandError:
    """Say in one line what the user's own code raised, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename}:{frame.lineno}"
    return CommandError(f"{what} failed at {where} with {type(error).__name__}: {error}", FAILED)


@asynccontextmanager
async def started(target: Intercom | ASGIApp) -> AsyncIterator[Intercom]:
    """Run the lifespan of a target without serving HTTP.

    Raises:
        CommandError: the app's lifespan starts no Intercom.
        Exception: what stopped the start-up.
    """
    if isinstance(target, Intercom):
        async with target.lifespan(None):
            yield target
        return
    async with _lifespan_of(target) as state:
        intercom = state.get("intercom")
        if not isinstance(intercom, Intercom):
            raise CommandError(
                "The app's lifespan started no Intercom: add IntercomMiddleware, or lifespan=intercom.lifespan.", FAILED
            )
        yield intercom


@asynccontextmanager
async def _lifespan_of(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Be the server in the lifespan protocol."""
    state: dict[str, Any] = {}
    to_app, from_server = anyio.create_memory_object_stream[Message](1)
    answered, ended = anyio.Event(), anyio.Event()
    answer: Message = {"type": ""}
    raised: list[Exception] = []

    async def send(message: Message) -> None:
        if not answered.is_set():
            answer.update(message)
            answered.set()

    async def run() -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        try:
            await app(scope, from_server.receive, send)
        except Exception as error:
            raised.append(error)
        ended.set()
        answered.set()

    failed: BaseException | None = None
    async with to_app, from_server, anyio.create_task_group() as group:
        group.start_soon(run)
        await to_app.send({"type": "lifespan.startup"})
        await answered.wait()
        try:
            if answer["type"] != "lifespan.startup.complete":
                await _give_up(ended)
                raise _start_up_error(raised)
            yield state
        except BaseException as error:  # kept out of the group, which would wrap it
            failed = error
        finally:
            with anyio.CancelScope(shield=True):
                if not ended.is_set():
                    await to_app.send({"type": "lifespan.shutdown"})
                    await ended.wait()
    if failed is not None:
        raise failed
    if raised:
        raise _failed("The app's shutdown", raised[0])


def _start_up_error(raised: list[Exception]) -> Exception:
    if not raised:
        return CommandError("The app's start-up failed; it says why above.", FAILED)
    error = raised[0]
    return error if isinstance(error, IntercomError) else _failed("The app's start-up", error)


async def _give_up(ended: anyio.Event) -> None:
    """Let an app that said that it failed raise what it has to raise."""
    with anyio.move_on_after(5):
        await ended.wait()
