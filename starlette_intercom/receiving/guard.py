"""SignatureGuard: an app that nobody but Intercom can reach."""

from __future__ import annotations

from typing import Final

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ConfigurationError
from ..notification import VerifiedBody
from ..time_limit import TimeLimit, time_limit
from .answers import BROKEN_OFF, TOO_SLOW, TRY_LATER, Answer
from .body import BodyReader, Disconnected, Refused
from .rejections import RejectionLog
from .signature import HUB_SIGNATURE, SecretsLike, SignatureScheme

MAX_BODY_SIZE: Final = 5 * 2**20
"""Bytes; Intercom documents no limit, and conversations with many parts run to hundreds of KB."""

READ_TIMEOUT: Final = 4.0
"""Seconds; Intercom gives up after 5 (https://developers.intercom.com/docs/webhooks)."""

MAX_CONCURRENT_READS: Final = 1000
"""Bodies under way at once; more than Intercom ever opens connections."""

SCOPE_KEY: Final = "intercom.verified"
"""Where the wrapped app finds the ``VerifiedBody``, with the name of the secret that signed it."""


class SignatureGuard:
    """ASGI wrapper that verifies each request over the exact bytes of its body before the app sees any of it.

    It protects whatever Intercom signs: Canvas Kit endpoints, installation health checks and uninstalls
    (``BODY_SIGNATURE``), Fin events (``FIN_SIGNATURE``), or an endpoint of your own for webhooks (``HUB_SIGNATURE``).
    The app then reads the body as if nothing had happened, and finds ``scope["intercom.verified"]``.

    Args:
        app: what is protected. Its lifespan passes through; WebSocket connections carry no signature and are refused.
        secrets: one secret, several, or several by name.
        scheme: the signature that is expected.
        max_body_size: bytes; a larger body gets 413.
        read_timeout: seconds for the whole body; a slower one gets 408.
        max_concurrent_reads: beyond so many, the slowest gets 503.

    Raises:
        ConfigurationError: no secret, an empty one, or a number out of its range.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        secrets: SecretsLike,
        scheme: SignatureScheme = HUB_SIGNATURE,
        max_body_size: int = MAX_BODY_SIZE,
        read_timeout: float = READ_TIMEOUT,
        max_concurrent_reads: int = MAX_CONCURRENT_READS,
    ) -> None:
        self.app = app
        self._reader = BodyReader(
            secrets=secrets,
            scheme=scheme,
            max_body_size=max_body_size,
            max_concurrent_reads=max_concurrent_reads,
        )
        self._read_timeout = checked_read_timeout(read_timeout)
        self._rejections = RejectionLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await refuse_websocket(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: VerifiedBody | None = None
        refusal: Refused | None = None
        disconnected = False
        with time_limit(self._read_timeout) as deadline:
            try:
                body = await self._reader.read(scope, receive, deadline)
            except Refused as error:
                refusal = error
            except Disconnected:
                disconnected = True
        # Out of the deadline: it is the body's, not the answer's.
        if body is not None:
            await self.app({**scope, SCOPE_KEY: body}, _replay(body.content, receive), send)
        elif refusal is not None:
            self._rejections.add(refusal.reason)
            await refusal.answer.send(scope, send, close=refusal.unread)
        elif disconnected:
            await answer_broken_off(scope, send)
        else:
            answer, reason = cut_off(deadline)
            self._rejections.add(reason)
            await answer.send(scope, send, close=True)


def checked_read_timeout(seconds: float) -> float:
    """Return the time-out, or say what is wrong with it."""
    if not 0 < seconds < float("inf"):
        raise ConfigurationError("read_timeout is in seconds and must be positive and finite.")
    return seconds


def cut_off(deadline: TimeLimit) -> tuple[Answer, str]:
    """Return the answer to a body that was cut off, and why it was: its time was up, or it had to make room."""
    if anyio.current_time() >= deadline.deadline:
        return TOO_SLOW, "the body was not complete in time"
    return TRY_LATER, "too many slow bodies at once"


async def answer_broken_off(scope: Scope, send: Send) -> None:
    """Answer a request whose body ends before its end.

    As a rule nobody hears it. But to granian a body that breaks the rules of HTTP is a disconnect too: its client still
    waits, and would get a 500.
    """
    await BROKEN_OFF.send(scope, send, close=True)


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Refuse a WebSocket connection before it is opened, which servers turn into a 403."""
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": ""})


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body once, and then what the server has to say."""
    replayed = False

    async def replay() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
