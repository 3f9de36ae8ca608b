"""What exists while the client runs: the connections, the rate window, the background's tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.abc

from ..errors import ConfigurationError
from .background import Background
from .http import MAX_CONNECTIONS, HttpClient, own_client
from .outbox import Outbox
from .outcomes import Outcome
from .sending import Sender
from .window import RateWindow


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of `EventsClient`, checked.

    Raises:
        ConfigurationError: an argument that cannot work.
    """

    headers: Mapping[str, str] = field(repr=False)
    access_token: str = field(repr=False)
    base_address: str
    http_client: HttpClient | None
    concurrency: int
    timeout: float
    deadline: float
    drain_timeout: float
    rate_share: float
    outbox: Outbox
    buffer: int
    on_failure: Callable[[Outcome], None] | None

    def __post_init__(self) -> None:
        if self.concurrency < 1 or (self.http_client is None and self.concurrency > MAX_CONNECTIONS):
            raise ConfigurationError(
                f"concurrency={self.concurrency}: use 1 to {MAX_CONNECTIONS}, beyond which httpx gets slower; "
                "for more, pass an http_client that can take it."
            )
        if not 0 < self.rate_share <= 1:
            raise ConfigurationError(f"rate_share={self.rate_share}: use a part above 0 and up to 1.")
        for name in ("timeout", "deadline", "drain_timeout"):
            seconds = getattr(self, name)
            if not 0 < seconds < float("inf"):
                raise ConfigurationError(f"{name}={seconds}: use seconds above 0.")
        if self.buffer < 1:
            raise ConfigurationError(f"buffer={self.buffer}: use 1 or more events.")


@dataclass(frozen=True, slots=True)
class Running:
    """What exists while the client runs."""

    sender: Sender
    background: Background
    tasks: anyio.abc.TaskGroup


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Set up all that sends events, and take it down in the order that loses nothing.

    Args:
        settings: the client's arguments.

    Yields:
        What sends. Its tasks are cancelled at the end.

    Raises:
        ConfigurationError: the outbox cannot be opened.
    """
    await settings.outbox.open()
    http_client: HttpClient
    headers: Mapping[str, str] | None
    if settings.http_client is None:
        http_client = own = own_client(settings.headers, settings.timeout)
        headers = None
    else:
        http_client, own = settings.http_client, None
        headers = settings.headers
    sender = Sender(
        http_client,
        base_address=settings.base_address,
        headers=headers,
        access_token=settings.access_token,
        window=RateWindow(settings.rate_share),
        concurrency=settings.concurrency,
        timeout=settings.timeout,
    )
    background = Background(
        sender,
        settings.outbox,
        concurrency=settings.concurrency,
        buffer=settings.buffer,
        on_failure=settings.on_failure,
    )
    try:
        async with anyio.create_task_group() as tasks:
            background.start(tasks)
            try:
                yield Running(sender, background, tasks)
            finally:
                tasks.cancel_scope.cancel()
    finally:
        await background.finish()
        with anyio.CancelScope(shield=True):
            await settings.outbox.aclose()
            if own is not None:
                await own.aclose()
