"""The app that is killed: it writes down each run and each completion, and can kill itself at a named point.

``KILL_AT`` is ``point:n``: SIGKILL when the n-th passage of that point is reached. ``KILL_REDIS_AT`` is the same for
Redis, whose process id is in the file ``REDIS_PID``. With ``TASKIQ``, the URL of a broker, the handlers run in workers
of taskiq: ``taskiq worker tests.crash.app:broker``.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from starlette_intercom import Delivery, Intercom, IntercomMiddleware, Notification, Runner, TaskGroupRunner
from tests.ledger import Ledger

KILL_AT = os.environ.get("KILL_AT", ":0")
KILL_REDIS_AT = os.environ.get("KILL_REDIS_AT", ":0")
ledger = Ledger(os.environ["LEDGER"])

passages: Counter[str] = Counter()


def passing(point: str) -> None:
    passages[point] += 1
    here = f"{point}:{passages[point]}"
    if here == KILL_REDIS_AT:
        kill_redis(point)
    if here == KILL_AT:
        os.killpg(0, signal.SIGKILL)


def kill_redis(point: str) -> None:
    file = Path(os.environ["REDIS_PID"])
    taken = file.with_name(f"killed-{point}")
    with suppress(FileNotFoundError):  # somebody else has killed it
        pid = int(file.read_text())
        file.rename(taken)
        os.kill(pid, signal.SIGKILL)


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


runner: Runner = TaskGroupRunner(20)
if "TASKIQ" in os.environ:
    from taskiq_redis import RedisStreamBroker

    from starlette_intercom.handling.taskiq import TaskiqRunner

    broker = RedisStreamBroker(
        os.environ["TASKIQ"],
        maxlen=10_000,
        unacknowledged_lock_timeout=5,
        xread_block=200,
        idle_timeout=2000,
        socket_timeout=None,  # with one, Python 3.11 may swallow the cancellation that ends a worker
    )
    runner = TaskiqRunner(broker, again_after=3)
    given: Any = runner
    given._give = with_points(given._give, "named-not-given", "given")
intercom = Intercom("secret", inbox=os.environ["INTERCOM_INBOX"], lease=2, runner=runner)
inbox: Any = intercom.inbox
inbox.accept = with_points(inbox.accept, "before-accept", "accepted-not-answered")
start = inbox.open
complete = with_points(inbox.complete, "handled-not-completed", None)


async def start_and_note() -> None:
    await start()
    ledger.note("started", os.getpgrp(), 0)


def passing_claimed(claim: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def claim_and_pass(limit: int, **options: Any) -> Any:
        claims = await claim(limit, **options)
        if claims:
            passing("claimed")
        return claims

    return claim_and_pass


async def complete_and_note(claim: Any) -> None:
    await complete(claim)
    passing("completed")
    ledger.note("done", claim.delivery.id, claim.delivery.fencing)


inbox.open, inbox.complete = start_and_note, complete_and_note
inbox.claim, inbox.claim_next = passing_claimed(inbox.claim), passing_claimed(inbox.claim_next)
if hasattr(inbox, "_file"):  # SQLite: also within the transaction, when all is written and nothing committed
    commit = inbox._file.commit

    def commit_or_die(connection: Any) -> None:
        passing("before-commit")
        commit(connection)

    inbox._file.commit = commit_or_die


@intercom.on("conversation.user.created")
async def handle(notification: Notification, delivery: Delivery) -> None:
    ledger.note("run", delivery.id, delivery.fencing)
    passing("in-handler")


async def stats(request: Request) -> JSONResponse:
    now = await intercom.stats()
    return JSONResponse({"unfinished": now.waiting + now.running + now.scheduled, "done": now.done, "dead": now.dead})


app = Starlette(routes=[Route("/stats", stats)], middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
