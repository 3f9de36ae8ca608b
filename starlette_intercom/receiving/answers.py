"""The answers of the library, encoded once."""

from __future__ import annotations

from typing import Final

import anyio.lowlevel
import msgspec
from starlette.types import Scope, Send

from .rejections import RejectionLog

_RETRY_AFTER: Final = b"30"  # seconds; Intercom itself tries again after a minute
_not_taken: Final = RejectionLog()


class Answer:
    """A complete response: status, a small JSON body, and headers, ready to be sent any number of times.

    Args:
        status: HTTP status.
        content: becomes the JSON body; None for an empty body.
        headers: in addition to type and length.
    """

    __slots__ = ("_body", "_headers", "status")

    def __init__(
        self, status: int, content: dict[str, object] | None, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        body = b"" if content is None else msgspec.json.encode(content)
        kind = () if content is None else ((b"content-type", b"application/json"),)
        self.status = status
        self._body = {"type": "http.response.body", "body": body}
        self._headers = (*kind, (b"content-length", str(len(body)).encode()), *headers)

    async def send(self, scope: Scope, send: Send, *, close: bool = False) -> None:
        """Send it.

        Args:
            scope: of the request.
            send: of the request.
            close: end the connection afterwards, since a body is left on it that nobody will read.
        """
        if close or scope["method"] != "POST":
            # What was not read may be against the rules of HTTP, and refused by the server already. It has to have a
            # turn to end this request; otherwise uvicorn with h11 raises here, and logs that each time.
            await anyio.lowlevel.checkpoint()
        # A new list each time: what wraps `send` may add to it.
        headers = list(self._headers)
        if close and scope.get("http_version", "1.1") < "2":  # forbidden from HTTP/2 on
            headers.append((b"connection", b"close"))
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            await send(self._body.copy())
        except Exception as error:  # with uvicorn, whoever breaks the rules of HTTP could fill the log with this
            if not isinstance(error, OSError):  # which says that the client has gone
                _not_taken.add(f"the server did not take the answer: {type(error).__name__}")


RECEIVED: Final = Answer(200, {"received": True})
DUPLICATE: Final = Answer(200, {"received": True, "duplicate": True})
ALIVE: Final = Answer(200, None)
NOT_ALLOWED: Final = Answer(405, {"error": "Method not allowed"}, ((b"allow", b"POST, HEAD"),))
INVALID_SIGNATURE: Final = Answer(401, {"error": "Invalid signature"})
TOO_LARGE: Final = Answer(413, {"error": "Body too large"})
TOO_SLOW: Final = Answer(408, {"error": "Body not complete in time"})
BROKEN_OFF: Final = Answer(400, {"error": "Body not complete"})
TRY_LATER: Final = Answer(503, {"error": "Try again later"}, ((b"retry-after", _RETRY_AFTER),))


def missing(header: str) -> Answer:
    """Return the answer to a request without a signature."""
    return Answer(401, {"error": f"Missing {header}"})


def not_a_notification(reason: str) -> Answer:
    """Return the answer to a body that was verified and is no notification."""
    return Answer(400, {"error": reason})
