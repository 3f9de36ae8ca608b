"""What Intercom knows about the events of a contact."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from ..errors import EventApiError
from .sending import Sender
from .validation import contact_key

_T = TypeVar("_T")


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as Intercom has recorded it.

    Attributes:
        name: the event's name.
        created_at: when it happened, in Unix seconds.
        id: Intercom's id of the event, where it gives one.
        user_id: the contact's external id.
        intercom_user_id: Intercom's id of the contact.
        email: the contact's email address.
        metadata: as Intercom keeps it; money and rich links are mappings.
    """

    name: str = msgspec.field(name="event_name")
    created_at: int
    id: str | None = None
    user_id: str | None = None
    intercom_user_id: str | None = None
    email: str | None = None
    metadata: dict[str, Any] = {}

    def __repr__(self) -> str:
        # Neither contact nor metadata, so that it may be logged.
        return f"RecordedEvent(name={self.name!r}, created_at={self.created_at})"


class EventSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How often a contact did something, and when first and last.

    Attributes:
        name: the event's name.
        count: how often.
        first: when it happened first.
        last: when it happened last.
        description: what the event means, where somebody wrote it down at Intercom.
    """

    name: str
    count: int
    first: datetime | None = None
    last: datetime | None = None
    description: str | None = None


class _Pages(msgspec.Struct):
    next: str | None = None


class _EventList(msgspec.Struct):
    events: list[RecordedEvent] = []
    pages: _Pages | None = None


class _SummaryList(msgspec.Struct):
    # The description of the API allows nulls among them.
    events: list[EventSummary | None] = []


def query_path(user_id: str | None, id: str | None, email: str | None, **more: str | int) -> str:
    """Make the path of a request about one contact's events.

    Args:
        user_id: the contact's external id.
        id: Intercom's id of the contact.
        email: the contact's email address.
        more: further parameters.

    Returns:
        The path with its query.

    Raises:
        InvalidEvent: not exactly one contact key was given.
    """
    key, value = contact_key(user_id, id, email)
    return "/events?" + urlencode({"type": "user", "intercom_user_id" if key == "id" else key: value, **more})


class EventListing:
    """A contact's events, latest first, read page by page.

    ``async for event in listing`` reads a page when it is needed; ``await listing`` reads all and gives a list.
    """

    def __init__(self, sender: Sender, path: str, *, deadline: float | None) -> None:
        self._sender = sender
        self._path = path
        self._deadline = deadline

    def __aiter__(self) -> AsyncIterator[RecordedEvent]:
        return _PageReader(self._sender, self._path, self._deadline)

    def __await__(self) -> Generator[Any, Any, list[RecordedEvent]]:
        return self._read_all().__await__()

    async def _read_all(self) -> list[RecordedEvent]:
        return [event async for event in self]


class _PageReader:
    """One pass over the pages. No generator, since those must be closed when a loop is left early."""

    def __init__(self, sender: Sender, path: str, deadline: float | None) -> None:
        self._sender = sender
        self._deadline = deadline
        self._next: str | None = path
        self._read: set[str] = set()
        self._page: Iterator[RecordedEvent] = iter(())

    def __aiter__(self) -> _PageReader:
        return self

    async def __anext__(self) -> RecordedEvent:
        while (event := next(self._page, None)) is None:
            # Pages in a circle end where they were.
            if self._next is None or self._next in self._read:
                raise StopAsyncIteration
            await self._turn_page(self._next)
        return event

    async def _turn_page(self, path: str) -> None:
        answer = await self._sender.request("GET", path, deadline=self._deadline)
        page = _decode(answer.content, _EventList)
        self._read.add(path)
        self._page = iter(page.events)
        following = page.pages.next if page.pages is not None else None
        # Only the query is taken over: the token goes to no other host, whatever an answer says.
        self._next = f"/events?{urlsplit(following).query}" if following else None


async def read_summaries(sender: Sender, path: str, *, deadline: float | None) -> tuple[EventSummary, ...]:
    """Read how often a contact did what.

    Args:
        sender: what asks.
        path: made by `query_path`.
        deadline: seconds for all tries together.

    Returns:
        A summary for each name.
    """
    answer = await sender.request("GET", path, deadline=deadline)
    return tuple(summary for summary in _decode(answer.content, _SummaryList).events if summary is not None)


def encode_summary(user_id: str, name: str, count: int, first: int, last: int) -> bytes:
    """Write the body that records a summary.

    Args:
        user_id: the contact's external id.
        name: the event's name.
        count: how often.
        first: Unix seconds.
        last: Unix seconds.

    Returns:
        The JSON body.
    """
    summary = {"event_name": name, "count": count, "first": first, "last": last}
    return msgspec.json.encode({"user_id": user_id, "event_summaries": summary})


def _decode(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except ValueError as error:
        raise EventApiError(f"Intercom's answer is not what it documents: {error}", status=200) from None
