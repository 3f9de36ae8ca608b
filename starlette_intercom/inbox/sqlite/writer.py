"""The thread that writes a SQLite inbox: everything that waits at the same time shares one transaction."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from queue import SimpleQueue
from typing import Any, ClassVar, Generic, Self, TypeVar

import anyio
import anyio.to_thread

from ...errors import InboxUnavailable, IntercomError
from ...time_limit import time_limit
from .event_loop import EventLoop, Waiter, running_loop
from .file import DatabaseFile
from .gathering import Gathering
from .transaction import Transaction

logger = logging.getLogger("starlette_intercom.inbox")

ResultT = TypeVar("ResultT")

_RANK = attrgetter("rank")

# Bounds how long the first of a batch waits for the last.
_BATCH = 512

# Seconds from one transaction to the next, unless many operations have gathered: each costs as much as several
# operations do, and so much later nobody needs an answer. The first after a pause does not wait.
_PACE = 0.003
_MANY = 32


class Operation(ABC, Generic[ResultT]):
    """One call that waits for its place in a transaction.

    Attributes:
        rank: operations of a lower rank are performed first in their transaction; each class has its own.
        calls_up: what stands by is to be performed in the same transaction.
        result: what it gave, where it did not fail.
        error: why it failed.
    """

    __slots__ = ("error", "finished", "result", "waiter")

    rank: ClassVar[int]
    calls_up: ClassVar[bool] = False
    result: ResultT
    error: Exception | None
    finished: bool
    waiter: Waiter | None

    @classmethod
    @abstractmethod
    def perform(cls, transaction: Transaction, operations: Sequence[Self]) -> None:
        """Perform all operations of this class in a transaction, and set ``result`` or ``error`` of each."""


class Writer:
    """One thread and one connection for everything that an inbox writes.

    Args:
        file: the database.
        clock: returns the time, in Unix seconds.
        on_ready: called on the event loop after a transaction that has left something ready to be claimed.
    """

    def __init__(self, file: DatabaseFile, *, clock: Callable[[], float], on_ready: Callable[[], None]) -> None:
        self._file = file
        self._clock = clock
        self._on_ready = on_ready
        self._loop: EventLoop = running_loop()
        self._queue: deque[Operation[Any]] = deque()
        self._standing_by: deque[Operation[Any]] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._gathering = Gathering(self._loop, lambda: self._wake.put(None), time.monotonic)
        self._stopping = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="starlette-intercom-inbox", daemon=True)

    async def start(self) -> None:
        """Open the file and start the thread.

        Raises:
            ConfigurationError, InboxUnavailable: the file cannot be opened; nothing is left behind.
        """
        await anyio.to_thread.run_sync(lambda: self._file.open(now=self._clock()))
        self._thread.start()

    async def stop(self) -> None:
        """Write what waits, end the thread, and close the file."""
        self._stopping = True
        self._wake.put(None)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join)

    async def perform(self, operation: Operation[ResultT]) -> ResultT:
        """Have an operation performed.

        When the caller is cancelled, an operation that still waits is withdrawn. One that is being written is not
        given up: what becomes of it is returned, since it may be on the disk already.

        Raises:
            InboxUnavailable: it could not be written; nothing of it is recorded.
        """
        self._prepare(operation)
        self._submit(operation)
        return await self._result_of(operation)

    async def stand_by(self, operation: Operation[ResultT], seconds: float) -> ResultT | None:
        """Have an operation performed together with the next one that calls it up, or when something became ready.

        Returns:
            Its result; None where neither happened in that time.

        Raises:
            InboxUnavailable: it could not be written; nothing of it is recorded.
        """
        self._prepare(operation)
        self._standing_by.append(operation)
        with time_limit(seconds) as limit:
            try:
                await self._wait_for(operation)
            except BaseException:
                if self._withdraw(operation):
                    raise
        if limit.cancelled_caught:
            return None
        return await self._result_of(operation)

    def _prepare(self, operation: Operation[Any]) -> None:
        if self._stopping:
            raise InboxUnavailable("The inbox is closed.")
        operation.error = None
        operation.finished = False
        operation.waiter = None

    def _submit(self, operation: Operation[Any]) -> None:
        self._queue.append(operation)
        self._gathering.came()
        if operation.calls_up:
            self._call_up()

    def _call_up(self) -> None:
        while self._standing_by:
            self._submit(self._standing_by.popleft())

    async def _wait_for(self, operation: Operation[Any]) -> None:
        if not operation.finished:
            operation.waiter = self._loop.new_waiter()
            await operation.waiter

    async def _result_of(self, operation: Operation[ResultT]) -> ResultT:
        try:
            await self._wait_for(operation)
        except BaseException:
            if self._withdraw(operation):
                raise
            with anyio.CancelScope(shield=True):
                while not operation.finished:
                    await self._wait_for(operation)
        if operation.error is not None:
            raise operation.error
        return operation.result

    def _withdraw(self, operation: Operation[Any]) -> bool:
        for waiting in (self._queue, self._standing_by):
            with suppress(ValueError):
                waiting.remove(operation)
                return True
        return False

    def _run(self) -> None:
        began = 0.0
        while not self._stopping:
            self._wake.get()
            if self._queue:
                pause = began + _PACE - time.monotonic()
                if pause > 0 and len(self._queue) < _MANY:
                    time.sleep(pause)  # the get(timeout=…) of a SimpleQueue may never return
                began = time.monotonic()
                self._write()
            self._tell(lambda: self._gathering.written(more=bool(self._queue)))
        while self._queue:
            self._write()
        try:
            self._file.close()
        except (sqlite3.Error, OSError, IntercomError) as error:
            logger.error("The inbox file %r could not be closed in order: %s", str(self._file.path), error)

    def _write(self) -> None:
        try:
            connection = self._file.begin()
        except (sqlite3.Error, OSError, IntercomError) as error:
            self._fail(self._take(), error)
            return
        # Only now: whatever was cancelled while others held the lock has been withdrawn.
        batch = self._take()
        try:
            self._transact(connection, batch)
        except Exception as error:
            worth_another_try = self._file.abandon(error)
            if len(batch) > 1 or worth_another_try:
                self._write_one_by_one(batch)
            else:
                self._fail(batch, error)

    def _write_one_by_one(self, batch: Sequence[Operation[Any]]) -> None:
        """Give each its own transaction, so that one which cannot be written takes no other with it."""
        for done, operation in enumerate(batch):
            operation.error = None
            try:
                connection = self._file.begin()
            except (sqlite3.Error, OSError, IntercomError) as error:
                self._fail(batch[done:], error)
                return
            try:
                self._transact(connection, [operation])
            except Exception as error:
                self._file.abandon(error)
                self._fail([operation], error)

    def _take(self) -> list[Operation[Any]]:
        batch: list[Operation[Any]] = []
        try:
            while len(batch) < _BATCH:
                batch.append(self._queue.popleft())
        except IndexError:
            pass  # that was all; others may withdraw while this thread takes, so there is no asking before
        return batch

    def _transact(self, connection: sqlite3.Connection, batch: Sequence[Operation[Any]]) -> None:
        file = self._file
        transaction = Transaction(connection, now=self._clock(), owner=file.owner.number, keys=file.keys)
        performed: list[Operation[Any]] = []
        for _, equal in groupby(sorted(batch, key=_RANK), key=_RANK):
            operations = list(equal)
            type(operations[0]).perform(transaction, operations)
            performed = operations + performed
        transaction.end()
        file.commit(connection)
        if self._failing:
            self._failing = False
            logger.warning("The inbox %r can be written again.", str(self._file.path))
        # In reverse: requests get their answers first, and whoever has completed something finds what was claimed.
        self._hand_back(performed, made_ready=transaction.made_ready)

    def _fail(self, batch: Sequence[Operation[Any]], error: Exception) -> None:
        of_the_file = isinstance(error, (sqlite3.Error, OSError, IntercomError))
        if of_the_file and not self._failing:
            self._failing = True
            logger.error("The inbox %r cannot be written: %s", str(self._file.path), error)
        for operation in batch:
            operation.error = self._file.unavailable(error) if of_the_file else error
        self._hand_back(batch, made_ready=False)

    def _hand_back(self, batch: Sequence[Operation[Any]], *, made_ready: bool) -> None:
        def deliver() -> None:
            for operation in batch:
                operation.finished = True
                if operation.waiter is not None and not operation.waiter.done():
                    operation.waiter.set_result(None)
            if made_ready:
                self._on_ready()
                self._call_up()

        self._tell(deliver)

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            self._loop.call_soon(what)
        except RuntimeError:  # trio's RunFinishedError is one
            logger.warning("The event loop ended while the inbox was being written.")
