"""Raw bytes to a server, and what it answers."""

from __future__ import annotations

import re
import select
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.servers.conftest import Server


def head(*lines: bytes, method: bytes = b"POST", path: bytes = b"/webhooks/intercom") -> bytes:
    """Return the first line of a request, and its headers."""
    return b"\r\n".join([b"%s %s HTTP/1.1" % (method, path), b"Host: localhost", *lines, b"", b""])


def read(connection: socket.socket, seconds: float = 5.0) -> bytes:
    """Read until the server closes, or has nothing to say for a moment after an answer."""
    content = b""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if not select.select([connection], [], [], 0.2 if b"\r\n\r\n" in content else seconds)[0]:
            break
        try:
            chunk = connection.recv(65536)
        except ConnectionError:
            break
        if not chunk:
            break
        content += chunk
    return content


def statuses(content: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", content)]


def exchange(server: Server, data: bytes) -> list[int]:
    with server.connect() as connection:
        connection.sendall(data)
        return statuses(read(connection))
