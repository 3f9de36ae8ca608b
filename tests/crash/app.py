"""The app that is killed: it writes down each run and each completion, and can kill itself at a named point.

``KILL_AT`` is ``point:n``: SIGKILL when the n-th passage of that point is reached.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from starlette_intercom import Delivery, Intercom, IntercomMiddleware, Notification, TaskGroupRunner

POINT, _, COUNT = os.environ.get("KILL_AT", ":0").partition(":")
LEDGER = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

passages = 0


def passing(point: str) -> None:
    global passages
    if point == POINT:
        passages += 1
        if passages == int(COUNT):
            os.kill(os.getpid(), signal.SIGKILL)


def note(what: str, delivery: Delivery) -> None:
    os.write(LEDGER, f"{what} {delivery.id} {delivery.fencing}\n".encode())  # one write: lines of several processes


def with_points(
    call: Callable[..., Awaitable[Any]], before: str | None, after: str | None
) -> Callable[..., Awaitable[Any]]:
    async def called(*args: Any, **options: Any) -> Any:
        if before:
            passing(before)
        result = await call(*args, **options)
        if after:
            passing(after)
        return result

    return called


intercom = Intercom("secret", inbox=os.environ["INTERCOM_INBOX"], lease=2, runner=TaskGroupRunner(20))
inbox: Any = intercom.inbox
inbox.accept = with_points(inbox.accept, "before-accept", "accepted-not-answered")
inbox.claim = with_points(inbox.claim, None, "claimed")
complete = with_points(inbox.complete, "handled-not-completed", None)


async def complete_and_note(claim: Any) -> None:
    await complete(claim)
    passing("completed")
    note("done", claim.delivery)


inbox.complete = complete_and_note
if hasattr(inbox, "_file"):  # SQLite: also within the transaction, when all is written and nothing committed
    commit = inbox._file.commit

    def commit_or_die(connection: Any) -> None:
        passing("before-commit")
        commit(connection)

    inbox._file.commit = commit_or_die


@intercom.on("conversation.user.created")
async def handle(notification: Notification, delivery: Delivery) -> None:
    note("run", delivery)
    passing("in-handler")


async def stats(request: Request) -> JSONResponse:
    now = await intercom.stats()
    return JSONResponse({"unfinished": now.waiting + now.running + now.scheduled, "done": now.done, "dead": now.dead})


app = Starlette(routes=[Route("/stats", stats)], middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
