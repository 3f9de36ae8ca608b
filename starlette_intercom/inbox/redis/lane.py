"""How operations reach Redis: those that wait at the same time share one call of the script, and one round trip."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from ...errors import InboxUnavailable

Argument = bytes | str | int | float
Call = Callable[[Sequence[Argument]], Awaitable[Sequence[Any]]]
"""Performs operations, given one after the other as names with their arguments; returns one reply for each.

Raises:
    InboxUnavailable: they were not performed, or nobody knows.
"""

_MOST_OPERATIONS: Final = 128  # in one call: Redis does nothing else meanwhile
_MOST_BYTES: Final = 4 * 2**20  # after so many bytes a call is full


class _Operation(NamedTuple):
    arguments: Sequence[Argument]
    size: int
    reply: asyncio.Future[Any]


class Lane:
    """Takes operations and sends them off together, one call after the other.

    Args:
        call: performs them.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._waiting: deque[_Operation] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def perform(self, *arguments: Argument, size: int = 0) -> Any:
        """Perform one operation, with whatever else waits, and return its reply.

        Args:
            arguments: its name and what it takes.
            size: bytes of what may be large among them.

        Raises:
            InboxUnavailable: Redis cannot be reached, or did not do it.
        """
        operation = _Operation(arguments, size, asyncio.get_running_loop().create_future())
        self._waiting.append(operation)
        if self._sender is None:
            # A task of its own, since whoever waits may be cancelled while others share the call.
            self._sender = asyncio.create_task(self._send(), name="intercom-redis")
        return await operation.reply

    async def close(self) -> None:
        """Let what is under way come to its end."""
        if self._sender is not None:
            await asyncio.wait([self._sender])

    async def _send(self) -> None:
        together: list[_Operation] = []
        reason = "the event loop has ended"
        try:
            while self._waiting:
                together = self._take()
                try:
                    replies = await self._call([part for operation in together for part in operation.arguments])
                except InboxUnavailable as error:
                    # Those behind have waited as long as this call took: they are told as well.
                    _fail([*together, *self._waiting], str(error))
                    self._waiting.clear()
                else:
                    for operation, reply in zip(together, replies, strict=True):
                        if not operation.reply.done():
                            operation.reply.set_result(reply)
        except Exception as error:
            reason = f"a defect: {type(error).__name__}"
            raise
        finally:
            self._sender = None
            _fail([*together, *self._waiting], reason)
            self._waiting.clear()

    def _take(self) -> list[_Operation]:
        """Return what goes together, without what nobody waits for any more."""
        together: list[_Operation] = []
        size = 0
        while self._waiting and len(together) < _MOST_OPERATIONS and size < _MOST_BYTES:
            operation = self._waiting.popleft()
            if not operation.reply.done():
                together.append(operation)
                size += operation.size
        return together


def _fail(operations: Sequence[_Operation], reason: str) -> None:
    for operation in operations:
        if not operation.reply.done():
            operation.reply.set_exception(InboxUnavailable(reason))
