"""`IntercomKit`: handlers under test, with everything around them in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self

import httpx

from ..events import EventsClient
from ..handling.registry import HandlerRegistry
from ..intercom import Intercom
from ..known_topics import TopicName
from .clock import Clock
from .delivering import DeliveryAnswer, deliver
from .fake_intercom import FakeIntercom
from .faulty_inbox import FaultyInbox
from .recording_inbox import PATIENCE, RecordingInbox
from .samples import sample

SECRET: Final = "client-secret-of-the-kit"  # noqa: S105 - made up
_TOKEN: Final = "fake-token"  # noqa: S105 - made up


def events_client_of(fake: FakeIntercom, *, access_token: str = _TOKEN) -> EventsClient:
    """Make a client that sends its events to a fake Intercom in this process.

    Args:
        fake: gets the requests.
        access_token: the token that the fake accepts.
    """
    http_client = httpx.AsyncClient(transport=httpx.ASGITransport(fake))
    return EventsClient(access_token=access_token, base_url="http://intercom.test", http_client=http_client)


class IntercomKit:
    """An Intercom of its own around your handlers: deliver, drain, and look what happened.

    ::

        async with IntercomKit(handlers) as kit:
            answer = await kit.deliver("conversation.user.created", **{"item.id": "5"})
            assert answer.received
            await kit.drain()
            assert kit.inbox.handled[0].item["id"] == "5"
            assert kit.events[0]["event_name"] == "started-conversation"

    Handlers that ask for ``EventsClient`` or ``Intercom`` by annotation get the kit's, whose events go to a fake
    Intercom. Retries run at once, or, with a clock, when it is advanced.

    Args:
        handlers: a registry, or the ``Intercom`` of your app: its handlers and hooks are taken over.
        clock: tells the inbox the time.
        fake: the fake Intercom to use; one of its own where not given.
        options: any other option of ``Intercom``, such as ``serialize_by``.

    Attributes:
        intercom: the Intercom around the handlers.
        inbox: what was handled, came twice, or died.
        faults: stands in front of the inbox; give it faults.
        fake: the fake Intercom that gets the events.
    """

    def __init__(
        self,
        handlers: HandlerRegistry | None = None,
        *,
        clock: Clock | None = None,
        fake: FakeIntercom | None = None,
        **options: Any,
    ) -> None:
        self.inbox = RecordingInbox(clock=clock)
        self.faults = FaultyInbox(self.inbox)
        self.fake = FakeIntercom() if fake is None else fake
        self.intercom = Intercom(SECRET, inbox=self.faults, events=events_client_of(self.fake), **options)
        if handlers is not None:
            self.intercom.include(handlers)
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._running.enter_async_context(self.intercom.lifespan(None))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._running.__aexit__(kind, error, traceback)

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """What Intercom was told: the bodies of the events, each once, in the order of their arrival."""
        return self.fake.events

    async def deliver(
        self, notification: TopicName | str | Mapping[str, Any], /, **overrides: object
    ) -> DeliveryAnswer:
        """Deliver a notification, signed as Intercom would.

        Args:
            notification: a topic, of which a sample is made; or a notification.
            **overrides: values to put into the sample, as :func:`sample` takes them.
        """
        if isinstance(notification, str):
            notification = sample(notification, **overrides)
        return await deliver(self.intercom, notification, secret=SECRET)

    async def drain(self, timeout: float = PATIENCE, *, raise_errors: bool = True) -> None:
        """Wait until every handler is done; the arguments and errors are those of `RecordingInbox.drain`."""
        await self.inbox.drain(timeout, raise_errors=raise_errors)
