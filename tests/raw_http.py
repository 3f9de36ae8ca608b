"""A client that sends bytes as they are, one request over a connection of its own, to servers that may be dying."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

from starlette_intercom.testing import SignedRequest

NO_ANSWER = 0


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP, or ``NO_ANSWER``.
        body: all of it, as far as it came.
        connected: somebody took the connection.
    """

    status: int
    body: bytes = b""
    connected: bool = True


def message_of(request: SignedRequest, *, length: int | None = None) -> bytes:
    """Return a signed request as it goes over the wire.

    Args:
        request: what ``signed`` made.
        length: what the header says about the body, where that is not the truth.
    """
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    head = f"POST /webhooks/intercom HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}"
    return f"{head}content-length: {len(request.body) if length is None else length}\r\n\r\n".encode() + request.body


async def ask(port: int, message: bytes, *, timeout: float = 10.0) -> Answer:
    """Send one request to a server of this machine, and return its answer.

    Args:
        port: of the server.
        message: the request, or as much of it as is to be sent.
        timeout: seconds for the whole exchange.
    """
    connected = False
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            connected = True
            try:
                with contextlib.suppress(OSError):  # it need not read a body that it refuses by its headers
                    writer.write(message)
                    await writer.drain()
                line = await reader.readline()
                if not line:
                    return Answer(NO_ANSWER)
                rest = b""
                with contextlib.suppress(OSError):  # the status counts, also where the rest is cut off
                    rest = await reader.read()
                return Answer(int(line.split()[1]), rest.partition(b"\r\n\r\n")[2])
            finally:
                writer.close()
    except (TimeoutError, OSError):
        return Answer(NO_ANSWER, connected=connected)


async def get_json(port: int, path: str, *, timeout: float = 10.0) -> Any:
    """Return what a server says as JSON under a path, or None where it does not answer with 200."""
    answer = await ask(port, f"GET {path} HTTP/1.0\r\nhost: x\r\n\r\n".encode(), timeout=timeout)
    return json.loads(answer.body) if answer.status == 200 and answer.body else None
