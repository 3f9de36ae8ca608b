"""``worker``: processes deliveries without serving HTTP."""

from __future__ import annotations

import logging
import signal

import anyio
from starlette.types import ASGIApp

from ..intercom import Intercom
from .exits import OK, CommandError
from .output import note
from .targets import TargetArgument, load, started


def worker(target: TargetArgument) -> int:
    """Process deliveries of a durable inbox, until SIGTERM or SIGINT; as many workers as you like, on any host.

    It starts and stops as your app does: with the same lifespan, and a drain that lets running handlers finish. A
    second signal stops it at once; what it was running is then run again by others when its lease ends.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request, with the contact in its address
    anyio.run(_work, load(target))
    return OK


async def _work(target: Intercom | ASGIApp) -> None:
    async with started(target) as intercom:
        if not intercom.inbox.durable:
            raise CommandError("A worker needs an inbox that it shares with your app: sqlite:///… or redis://…")
        note(f"Worker started: {len(intercom.handlers)} handlers. Stop it with SIGTERM or Ctrl-C.")
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            number = await anext(signals)
        # From here on a signal does what it does to any process.
        note(f"{signal.Signals(number).name}: running handlers may finish now.")
    note("Worker stopped.")
