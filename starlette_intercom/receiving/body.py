"""Reading a signed body: bounded in size, in time, and in how many are read at once; then verified."""

from __future__ import annotations

from typing import Final

import anyio.lowlevel
from starlette.types import Receive, Scope

from ..errors import ConfigurationError
from ..notification import VerifiedBody
from ..time_limit import TimeLimit
from .answers import INVALID_SIGNATURE, TOO_LARGE, TRY_LATER, Answer, missing
from .signature import Secrets, SecretsLike, SignatureScheme, shape_of, signer_of

_MIB: Final = 2**20
_LARGE: Final = 2**19  # bytes whose check takes a millisecond or more: hash, and envelope


class Refused(Exception):
    """The request is not let in.

    Attributes:
        answer: what to say.
        reason: for the log.
        unread: part of the body is still to come.
    """

    def __init__(self, answer: Answer, reason: str, *, unread: bool) -> None:
        super().__init__(reason)
        self.answer = answer
        self.reason = reason
        self.unread = unread


class Disconnected(Exception):
    """The client went away before its body was complete, or its body broke off."""


class BodyReader:
    """Reads and verifies bodies.

    When more than ``max_concurrent_reads`` are under way, or they hold too much memory together, the one that has
    been coming in for the longest is turned away: it is the slowest, and whoever drips bodies only pushes out others
    who do. A complete body never waits for incomplete ones.

    Args:
        secrets: who may have signed.
        scheme: which signature is expected.
        max_body_size: bytes, at least 1.
        max_concurrent_reads: at least 1.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    def __init__(
        self, *, secrets: SecretsLike, scheme: SignatureScheme, max_body_size: int, max_concurrent_reads: int
    ) -> None:
        if max_body_size < 1:
            raise ConfigurationError("max_body_size is in bytes and must be at least 1.")
        if max_concurrent_reads < 1:
            raise ConfigurationError("max_concurrent_reads must be at least 1.")
        self._secrets = Secrets(secrets)
        self._scheme = scheme
        self._header = scheme.header.lower().encode("ascii")
        self._shape = shape_of(scheme)
        self._missing = missing(scheme.header)
        self._max_body_size = max_body_size
        self._max_concurrent_reads = max_concurrent_reads
        self._max_buffered = max(256 * _MIB, 4 * max_body_size)
        self._buffered = 0
        self._queue = 0  # large bodies that are complete, and not checked yet
        self._reads: dict[TimeLimit, int] = {}  # bytes of each that are buffered, in the order in which they began

    async def read(self, scope: Scope, receive: Receive, deadline: TimeLimit) -> VerifiedBody:
        """Read the whole body and verify it.

        Args:
            scope: of an HTTP request.
            receive: of the request.
            deadline: the limit in which this runs; it is cancelled where the body has to make room.

        Raises:
            Refused: the answer to give.
            Disconnected: there will be no more of the body.
        """
        signature = self._signature_of(scope)
        self._reads[deadline] = 0
        if len(self._reads) > self._max_concurrent_reads:
            self._evict_oldest(by=deadline)
        buffer = bytearray()  # not a list of chunks: many tiny ones would take far more memory than they hold
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Disconnected
                chunk: bytes = message.get("body", b"")
                more: bool = message.get("more_body", False)
                if len(buffer) + len(chunk) > self._max_body_size:
                    raise Refused(TOO_LARGE, "the body is larger than max_body_size", unread=more)
                if not more:
                    break
                self._hold(len(chunk), deadline)
                buffer += chunk
            if len(buffer) + len(chunk) > _LARGE:
                self._hold(len(chunk), deadline)
                await self._take_turn()
        finally:
            self._buffered -= self._reads.pop(deadline, 0)
        if buffer:
            buffer += chunk
            body = bytes(buffer)
            buffer.clear()
        else:
            body = chunk
        name = signer_of(body, signature, self._secrets, self._scheme)
        if name is None:
            raise Refused(INVALID_SIGNATURE, "the signature does not match", unread=False)
        return VerifiedBody(body, name)

    def _signature_of(self, scope: Scope) -> bytes:
        """Return the one signature header; refuse by headers alone what cannot be right, before reading the body."""
        wanted, found, length = self._header, [], b""
        for name, value in scope["headers"]:
            if name == wanted:
                found.append(value)
            elif name == b"content-length":
                length = value
        unread = length != b"0"
        if not found:
            raise Refused(self._missing, "the signature header is missing", unread=unread)
        if len(found) > 1 or not self._shape.fullmatch(found[0]):
            raise Refused(INVALID_SIGNATURE, "the signature header is malformed", unread=unread)
        # The server checks the header's form; what it lets pass beyond digits is caught while reading.
        if length.isdigit() and (len(length) > 18 or int(length) > self._max_body_size):
            raise Refused(TOO_LARGE, "the body is larger than max_body_size", unread=True)
        signature: bytes = found[0]
        return signature

    async def _take_turn(self) -> None:
        """Let large bodies that are complete at the same time be checked one after the other, and others in between."""
        self._queue += 1
        try:
            for _ in range(self._queue):
                await anyio.lowlevel.checkpoint()
        finally:
            self._queue -= 1

    def _hold(self, size: int, deadline: TimeLimit) -> None:
        """Count what is kept until the rest of a body arrives, and make room for it."""
        if deadline in self._reads:
            self._reads[deadline] += size
            self._buffered += size
            while self._buffered > self._max_buffered:  # so there are several: it holds four of the largest
                self._evict_oldest(by=deadline)
        if deadline not in self._reads:  # had to make room; the cancellation itself may come a few messages later
            raise Refused(TRY_LATER, "too many slow bodies at once", unread=True)

    def _evict_oldest(self, *, by: TimeLimit) -> None:
        oldest = next(iter(self._reads))
        self._buffered -= self._reads.pop(oldest)
        if oldest is not by:  # that one sees it by itself: cancelling the running task would hit its answer
            oldest.cancel()
