"""The inbox in Redis: for several hosts that share the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ...errors import ConfigurationError, InboxFull, LeaseLost
from ...notification import StoredNotification, VerifiedNotification
from ..contract import RETENTION, Claim, DeadLetter, Failure, Inbox, Stats
from .fields import claim_of, letter_of, progress_of, shown, to_bytes, to_text
from .lane import Argument, Lane
from .script import Client, Script
from .server import check_server

MAX_UNFINISHED: Final = 1_000_000
_POLL: Final = 0.5  # seconds after which it is looked for what other processes have accepted
_LOOKED_AT_TOGETHER: Final = 200  # dead letters in one call, which must be short
_FORGOTTEN_TOGETHER: Final = 5000  # keys of completed deliveries


class RedisInbox(Inbox):
    """An inbox in Redis 6.2 or newer, or what speaks its language. On asyncio only, since redis-py is.

    What was accepted is as durable as the server's own record of it: with ``appendonly yes`` and ``appendfsync always``
    nothing is lost in a crash of Redis; with ``everysec`` it may be the last second.

    Args:
        redis: a URL, such as ``redis://:password@host:6379/0`` or ``rediss://…``; or a client of ``redis.asyncio``
            of your own, for Sentinel or a cluster. Yours is not closed.
        prefix: what all keys begin with, as ``{prefix}:``, so that a cluster keeps them together.
        retention: seconds for which completed deliveries are known.
        max_unfinished: how many deliveries it holds at the most, beside dead letters; then it is full.
        timeout: seconds within which Redis must answer.
        allow_eviction: start although the server's eviction policy may throw deliveries away.
        clock: Unix time in seconds; for tests, since all hosts share the server's clock otherwise.

    Raises:
        ConfigurationError: an option is out of its range, or the URL is none.
    """

    def __init__(
        self,
        redis: str | Client,
        *,
        prefix: str = "starlette-intercom",
        retention: float = RETENTION,
        max_unfinished: int = MAX_UNFINISHED,
        timeout: float = 2.0,
        allow_eviction: bool = False,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if max_unfinished < 1 or not retention > 0 or not 0 < timeout < float("inf"):
            raise ConfigurationError("max_unfinished, retention and timeout must be positive.")
        if not prefix or "{" in prefix or "}" in prefix:
            raise ConfigurationError("prefix must be a text without braces, which are put around it.")
        self._url = redis if isinstance(redis, str) else None
        self._client = _connect(redis, timeout) if isinstance(redis, str) else redis
        if getattr(self._client.get_encoder(), "decode_responses", False):
            raise ConfigurationError("The Redis client decodes what it reads: make it without decode_responses=True.")
        self._base = f"{{{prefix}}}:"
        self._retention = retention
        self._max_unfinished = max_unfinished
        self._timeout = timeout
        self._allow_eviction = allow_eviction
        self._clock = clock
        self._news: asyncio.Event | None = None
        self._next_due = float("inf")  # by the event loop's clock

    def __repr__(self) -> str:
        return f"<RedisInbox {self._base}>"

    async def open(self) -> None:
        """Connect, and check that the server will keep what it is told to keep."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "The Redis inbox runs on asyncio only: let the server run asyncio, or use 'sqlite:///intercom.db'."
            ) from None
        if self._url is not None:
            self._client = _connect(self._url, self._timeout)  # a client belongs to the event loop that it began on
        try:
            await check_server(self._client, timeout=self._timeout, allow_eviction=self._allow_eviction)
            script = Script(
                self._client,
                base=self._base,
                retention=self._retention,
                timeout=self._timeout,
                clock=self._clock,
                made_ready=self._wake,
            )
            await script.call(())
        except BaseException:
            await self._disconnect()
            raise
        # Two, so that what comes in never waits for what is under way, and is refused alone where memory has run out.
        self._intake = Lane(script.call)
        self._record = Lane(script.call)
        self._news = asyncio.Event()
        self._news.set()

    async def close(self) -> None:
        """Finish what is being written, and disconnect."""
        if self._news is not None:
            self._news = None
            await self._intake.close()
            await self._record.close()
            await self._disconnect()

    async def accept(
        self, notification: VerifiedNotification, *, key: str, group: str | None = None, trace: str | None = None
    ) -> bool:
        """Write a notification down, together with others that wait."""
        accepted = await self._intake.perform(
            "accept",
            to_bytes(key),
            to_bytes(notification.topic),
            b"" if group is None else b":" + to_bytes(group),
            notification.created_at,
            notification.raw,
            b"" if trace is None else trace.encode(),
            self._max_unfinished,
            size=len(notification.raw),
        )
        if accepted < 0:
            raise InboxFull(f"The inbox holds {self._max_unfinished} unfinished deliveries, its bound.")
        return bool(accepted)

    async def claim(self, limit: int, *, lease: float, ids: Sequence[str] | None = None) -> Sequence[Claim]:
        """Take deliveries that are ready."""
        self._look()
        keys = [to_bytes(one) for one in ids or ()]
        until_due, found = await self._record.perform("claim", limit, lease, int(ids is None), len(keys), *keys)
        self._next_due = asyncio.get_running_loop().time() + float(until_due)
        if len(found) == limit:
            self._wake()  # there may be more
        return [claim_of(*fields) for fields in found]

    async def wait(self, timeout: float) -> None:
        """Return when this process accepted something, something is due, or another may have accepted something."""
        news = self._news
        if news is None or news.is_set():
            return
        due = self._next_due - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, min(timeout, due, _POLL))):
                await news.wait()
        except TimeoutError:
            return

    async def renew(self, claims: Sequence[Claim], *, lease: float) -> Sequence[Claim]:
        """Extend leases."""
        kept = await asyncio.gather(*(self._record.perform("renew", *shown(claim), lease) for claim in claims))
        return [claim for claim, held in zip(claims, kept, strict=True) if not held]

    async def mark(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Write down how far a run has come."""
        await self._report("mark", claim, *progress_of(done, failures))

    async def complete(self, claim: Claim) -> None:
        """Keep the key, erase the payload."""
        await self._report("complete", claim)

    async def retry(self, claim: Claim, *, after: float, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Schedule the next attempt."""
        await self._report("retry", claim, after, *progress_of(done, failures))
        self._next_due = min(self._next_due, asyncio.get_running_loop().time() + after)

    async def release(self, claim: Claim, *, done: frozenset[str], failures: tuple[Failure, ...]) -> None:
        """Give a delivery back."""
        await self._report("release", claim, *progress_of(done, failures))

    async def bury(
        self,
        claim: Claim,
        *,
        handlers: tuple[str, ...],
        done: frozenset[str],
        failures: tuple[Failure, ...],
    ) -> None:
        """Put a delivery into the dead letters."""
        await self._report("bury", claim, msgspec.json.encode(handlers), *progress_of(done, failures))

    async def dispatch(self, limit: int, *, again_after: float) -> Sequence[str]:
        """Name deliveries that are ready."""
        self._look()
        names = [to_text(one) for one in await self._record.perform("dispatch", limit, again_after)]
        if len(names) == limit:
            self._wake()
        return names

    async def list_dead(
        self, *, topic: str | None = None, handler: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters, the latest first."""
        letters: list[DeadLetter] = []
        for ids in await self._dead_ids(limit if topic is handler is None else 0):
            for fields in await self._record.perform("letters", *_filter(topic, handler), len(ids), *ids):
                letters.append(letter_of(*fields))
            if len(letters) >= limit:
                break
        return letters[:limit]

    async def get_dead(self, id: str) -> DeadLetter | None:
        """Return one dead letter."""
        found = await self._record.perform("letters", "", "", 1, to_bytes(id))
        return letter_of(*found[0]) if found else None

    async def replay(self, *, id: str | None = None, topic: str | None = None, handler: str | None = None) -> int:
        """Make dead letters ready again."""
        count = 0
        for ids in await self._dead_ids() if id is None else [[to_bytes(id)]]:
            count += await self._record.perform("replay", *_filter(topic, handler), len(ids), *ids)
        return count

    async def purge(
        self,
        *,
        id: str | None = None,
        topic: str | None = None,
        handler: str | None = None,
        older_than: float | None = None,
    ) -> int:
        """Forget dead letters."""
        count = 0
        for ids in await self._dead_ids() if id is None else [[to_bytes(id)]]:
            fitting = _filter(topic, handler)
            count += await self._record.perform("purge", older_than or 0.0, *fitting, len(ids), *ids)
        return count

    async def forget(self, value: str) -> int:
        """Erase what mentions a value, a few at a time."""
        count = 0
        for ids in _in_chunks(await self._record.perform("kept_ids")):
            bodies = await self._record.perform("bodies", len(ids), *ids)
            found = [
                one
                for one, body in zip(ids, bodies, strict=True)
                if body and StoredNotification.read(body).mentions(value)
            ]
            if found:
                count += await self._record.perform("forget", len(found), *found)
        return count

    async def stats(self) -> Stats:
        """Return how the inbox stands."""
        waiting, running, scheduled, dead, done, oldest = await self._record.perform("stats")
        return Stats(
            waiting=waiting,
            running=running,
            scheduled=scheduled,
            dead=dead,
            done=done,
            oldest_waiting=float(oldest),
        )

    async def tidy(self) -> None:
        """Forget completed deliveries after the retention time."""
        left = 1
        while left:
            left = await self._record.perform("tidy", _FORGOTTEN_TOGETHER)

    def _look(self) -> None:
        """What is ready from now on is news to who waits."""
        if self._news is not None:
            self._news.clear()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()

    async def _report(self, operation: str, claim: Claim, *arguments: Argument) -> None:
        """Do what only the holder of the current lease may do."""
        if not await self._record.perform(operation, *shown(claim), *arguments):
            raise LeaseLost(f"The lease on {claim.delivery.id} is not the current one.")

    async def _dead_ids(self, limit: int = 0) -> Iterable[Sequence[bytes]]:
        """Return the ids of all dead letters, or of the latest, the latest first; as many at a time as go together."""
        return _in_chunks(await self._record.perform("dead_ids", limit))

    async def _disconnect(self) -> None:
        if self._url is not None:
            await self._client.aclose()


def _in_chunks(ids: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (ids[start : start + _LOOKED_AT_TOGETHER] for start in range(0, len(ids), _LOOKED_AT_TOGETHER))


def _connect(url: str, timeout: float) -> Client:
    """Make a client, which connects when it is used."""
    if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError("The URL of a Redis inbox begins with redis:// or rediss://.")
    try:
        # Nothing is tried twice: the second try of a claim would leave what the first one took with nobody.
        return Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except (ValueError, TypeError):  # the text may hold the password
        raise ConfigurationError(
            "The URL of the Redis inbox is not a valid one: write redis://user:password@host:6379/0, with special "
            "characters of the password percent-encoded."
        ) from None


def _filter(topic: str | None, handler: str | None) -> tuple[bytes, bytes]:
    return to_bytes(topic or ""), to_bytes(handler or "")
