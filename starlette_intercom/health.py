"""Health: what a probe of an orchestrator, or a person, wants to know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import msgspec
from starlette.types import Receive, Scope, Send

from .inbox.contract import Inbox
from .receiving.answers import ALIVE, Answer

_PATIENCE: Final = 2.0  # seconds for the inbox to answer
_ALLOW: Final = Answer(405, {"error": "Method not allowed"}, ((b"allow", b"GET, HEAD"),))


class Health(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an ``Intercom`` is.

    Attributes:
        accepting: notifications are taken: it was started, and is not shutting down.
        inbox_reachable: the inbox answers.
        runner_alive: deliveries are being processed.
        oldest_waiting: seconds for which the oldest waiting delivery has been ready; None where the inbox is away.
        dead: dead letters; None where the inbox is away.
    """

    accepting: bool
    inbox_reachable: bool
    runner_alive: bool
    oldest_waiting: float | None
    dead: int | None

    @property
    def ok(self) -> bool:
        """Everything works. A long queue and dead letters are for people to judge."""
        return self.accepting and self.inbox_reachable and self.runner_alive


async def health_of(inbox: Inbox, *, accepting: bool, runner_alive: bool) -> Health:
    """Ask the inbox how it is; one that is away or slow is a finding, and no error."""
    with anyio.move_on_after(_PATIENCE):
        try:
            stats = await inbox.stats()
        except Exception:
            stats = None
        if stats is not None:
            return Health(
                accepting=accepting,
                inbox_reachable=True,
                runner_alive=runner_alive,
                oldest_waiting=round(stats.oldest_waiting, 3),
                dead=stats.dead,
            )
    return Health(accepting=accepting, inbox_reachable=False, runner_alive=runner_alive, oldest_waiting=None, dead=None)


class HealthEndpoint:
    """ASGI app for probes: 200 where everything works, otherwise 503, with the findings as JSON and no payloads.

    ``intercom.health_endpoint`` is one; give it a route: ``Route("/health", intercom.health_endpoint)``.

    Args:
        health: asks for the findings.
    """

    def __init__(self, health: Callable[[], Awaitable[Health]]) -> None:
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one probe."""
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _ALLOW.send(scope, send)
            return
        found = await self._health()
        status = 200 if found.ok else 503
        content = {"ok": found.ok, **msgspec.structs.asdict(found)}
        answer = Answer(status, content) if scope["method"] == "GET" else (ALIVE if found.ok else Answer(503, None))
        await answer.send(scope, send)
