"""The script that does everything in Redis, and how it is called: within a bounded time, with errors that say why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from ...errors import InboxUnavailable
from .lane import Argument

Client = Redis | RedisCluster

# Parts of one script: the first says what the others may use, the last calls them.
_PARTS: Final = ("deliveries", "intake", "outcomes", "dead_letters", "figures")
_SOURCE: Final = "\n".join(
    (files(__package__) / "scripts" / f"{part}.lua").read_text(encoding="utf-8") for part in _PARTS
)
_DIGEST: Final = sha1(_SOURCE.encode(), usedforsecurity=False).hexdigest()

FAILURES: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a client of redis-py raises when Redis does not do what it was asked."""


class Script:
    """The script on one server.

    Args:
        client: the way to the server.
        base: what all keys begin with, its hash tag included.
        retention: seconds for which completed deliveries are known.
        timeout: seconds for one call.
        clock: Unix time in seconds; None for the server's own.
        made_ready: hears that a call has made something ready to be claimed.
    """

    def __init__(
        self,
        client: Client,
        *,
        base: str,
        retention: float,
        timeout: float,
        clock: Callable[[], float] | None,
        made_ready: Callable[[], None],
    ) -> None:
        self._client = client
        self._base = base
        self._retention = retention
        self._timeout = timeout
        self._clock = clock
        self._made_ready = made_ready
        self._ahead: float | None = None  # by how much the server's clock is ahead of the event loop's

    async def call(self, arguments: Sequence[Argument]) -> Sequence[Any]:
        """Perform operations in one step; all of them or, where this raises, most likely none.

        Args:
            arguments: for each operation its name and what it takes.

        Returns:
            One reply for each operation.

        Raises:
            InboxUnavailable: Redis cannot be reached, does not answer in time, or cannot write.
        """
        try:
            deadline = asyncio.get_running_loop().time() + self._timeout
            async with asyncio.timeout_at(deadline):
                replies = await self._evaluate(arguments, deadline)
                if replies is None:  # the clocks have drifted apart; they are in step again after that answer
                    replies = await self._evaluate(arguments, deadline)
        except FAILURES as error:
            if isinstance(error, ReadOnlyError | MasterDownError) and isinstance(self._client, Redis):
                # Another server is the master now: find it by connecting again.
                await self._client.connection_pool.disconnect(inuse_connections=False)
            raise InboxUnavailable(reason_of(error, self._timeout)) from None
        if replies is None:
            raise InboxUnavailable("Redis is too slow")
        return replies

    async def _evaluate(self, arguments: Sequence[Argument], deadline: float) -> Sequence[Any] | None:
        now = "" if self._clock is None else self._clock()
        until = "" if self._ahead is None else deadline + self._ahead
        parts = [part if type(part) is bytes else str(part).encode() for part in arguments]
        lengths = msgspec.msgpack.encode([len(part) for part in parts])
        send = self._client.execute_command
        values = (1, self._base, now, self._retention, until, lengths, b"".join(parts))
        try:
            server_time, replies, ready = await send("EVALSHA", _DIGEST, *values)
        except NoScriptError:
            server_time, replies, ready = await send("EVAL", _SOURCE, *values)
        self._ahead = float(server_time) - asyncio.get_running_loop().time()
        if ready:
            self._made_ready()
        answered: Sequence[Any] | None = replies
        return answered


def reason_of(error: BaseException, timeout: float) -> str:
    """Say why Redis did not do something, without a word of what was sent."""
    if isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError":
        return f"Redis did not answer within {timeout:g} s"
    if isinstance(error, OutOfMemoryError):
        return "Redis is out of memory (maxmemory)"
    if isinstance(error, ReadOnlyError):
        return "Redis is a read-only replica"
    if isinstance(error, BusyLoadingError):
        return "Redis is loading its data"
    if isinstance(error, AuthenticationError):
        return "Redis did not accept the user or the password"
    code = str(error).split(" ", 1)[0] if isinstance(error, ResponseError) else ""
    return f"Redis answered {code}" if code.isupper() else f"Redis cannot be reached ({type(error).__name__})"
