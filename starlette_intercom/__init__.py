"""Receive Intercom webhooks and send Intercom data events, on any ASGI app.

``RedisInbox`` and ``TaskiqRunner`` are here too, and imported when they are first asked for, since they need extras.
"""

from typing import TYPE_CHECKING

from .errors import (
    ConfigurationError,
    ContactNotFound,
    EventApiError,
    EventError,
    EventRejected,
    InboxError,
    InboxFull,
    InboxUnavailable,
    IntercomError,
    IntercomUnavailable,
    InvalidEvent,
    InvalidNotification,
    LeaseLost,
    OutboxFull,
    RateLimited,
    Reject,
    Retry,
    Unauthorized,
)
from .events import (
    Event,
    EventsClient,
    MemoryOutbox,
    Money,
    Outbox,
    Outcome,
    Progress,
    RichLink,
    SQLiteOutbox,
    TrackResult,
)
from .handling.processor import Processor
from .handling.registry import HandlerRegistry
from .handling.run import Run
from .handling.runner import Runner, TaskGroupRunner
from .handling.schedule import Backoff
from .health import Health, HealthEndpoint
from .inbox.contract import Claim, DeadLetter, Delivery, Failure, Inbox, Stats
from .inbox.dead_letters import DeadLetters
from .inbox.memory import MemoryInbox
from .inbox.sqlite import SQLiteInbox
from .intercom import Intercom, get_intercom
from .lifespan import compose_lifespans
from .middleware import IntercomMiddleware
from .notification import Notification, StoredNotification, VerifiedBody, VerifiedNotification
from .observers import Observer, Tracer
from .receiving.guard import SignatureGuard
from .receiving.signature import (
    BODY_SIGNATURE,
    FIN_SIGNATURE,
    HUB_SIGNATURE,
    SignatureScheme,
    sign,
    verify,
)
from .steps import (
    Accepted,
    Buried,
    Crashed,
    Duplicate,
    EventFailed,
    EventSent,
    Failed,
    Interrupted,
    RateReported,
    Received,
    Rejected,
    Retried,
    Started,
    Step,
    Succeeded,
    Unhandled,
)
from .version import __version__

if TYPE_CHECKING:
    from .handling.taskiq import TaskiqRunner as TaskiqRunner
    from .inbox.redis import RedisInbox as RedisInbox

__all__ = [
    "BODY_SIGNATURE",
    "FIN_SIGNATURE",
    "HUB_SIGNATURE",
    "Accepted",
    "Backoff",
    "Buried",
    "Claim",
    "ConfigurationError",
    "ContactNotFound",
    "Crashed",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "Duplicate",
    "Event",
    "EventApiError",
    "EventError",
    "EventFailed",
    "EventRejected",
    "EventSent",
    "EventsClient",
    "Failed",
    "Failure",
    "HandlerRegistry",
    "Health",
    "HealthEndpoint",
    "Inbox",
    "InboxError",
    "InboxFull",
    "InboxUnavailable",
    "Intercom",
    "IntercomError",
    "IntercomMiddleware",
    "IntercomUnavailable",
    "Interrupted",
    "InvalidEvent",
    "InvalidNotification",
    "LeaseLost",
    "MemoryInbox",
    "MemoryOutbox",
    "Money",
    "Notification",
    "Observer",
    "Outbox",
    "OutboxFull",
    "Outcome",
    "Processor",
    "Progress",
    "RateLimited",
    "RateReported",
    "Received",
    "Reject",
    "Rejected",
    "Retried",
    "Retry",
    "RichLink",
    "Run",
    "Runner",
    "SQLiteInbox",
    "SQLiteOutbox",
    "SignatureGuard",
    "SignatureScheme",
    "Started",
    "Stats",
    "Step",
    "StoredNotification",
    "Succeeded",
    "TaskGroupRunner",
    "Tracer",
    "TrackResult",
    "Unauthorized",
    "Unhandled",
    "VerifiedBody",
    "VerifiedNotification",
    "__version__",
    "compose_lifespans",
    "get_intercom",
    "sign",
    "verify",
]

if not TYPE_CHECKING:  # a type checker would take every other name for one of the package
    _OF_EXTRAS = {"RedisInbox": ".inbox.redis", "TaskiqRunner": ".handling.taskiq"}

    def __getattr__(name: str) -> object:
        if name not in _OF_EXTRAS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_OF_EXTRAS[name], __name__), name)
