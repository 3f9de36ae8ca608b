"""The app tells Intercom what its users did: events, sent as fast as Intercom allows."""

from .background import Enqueued, EventsStatistics
from .bulk import OutcomeStream
from .client import EventsClient
from .event import Event, MetadataValue, Money, RichLink
from .http import HttpClient, HttpResponse
from .outbox import MemoryOutbox, Outbox, OutboxEntry
from .outcomes import Outcome, Progress, TrackResult
from .reading import EventListing, EventSummary, RecordedEvent
from .sqlite_outbox import SQLiteOutbox

__all__ = [
    "Enqueued",
    "Event",
    "EventListing",
    "EventSummary",
    "EventsClient",
    "EventsStatistics",
    "HttpClient",
    "HttpResponse",
    "MemoryOutbox",
    "MetadataValue",
    "Money",
    "Outbox",
    "OutboxEntry",
    "Outcome",
    "OutcomeStream",
    "Progress",
    "RecordedEvent",
    "RichLink",
    "SQLiteOutbox",
    "TrackResult",
]
