"""What to test with: samples of notifications, signatures, and an Intercom of your own.

The conformance suite for inboxes is ``starlette_intercom.testing.conformance``; it needs pytest and Hypothesis, so it
is imported from there.
"""

from .clock import Clock
from .delivering import DeliveryAnswer, deliver
from .fake_intercom import FakeIntercom, FakeRequest, Fault
from .faulty_inbox import FaultyInbox, InboxFault
from .kit import IntercomKit, events_client_of
from .recording_inbox import HandlersFailed, RecordingInbox
from .samples import sample
from .signing import SignedRequest, signed

__all__ = [
    "Clock",
    "DeliveryAnswer",
    "FakeIntercom",
    "FakeRequest",
    "Fault",
    "FaultyInbox",
    "HandlersFailed",
    "InboxFault",
    "IntercomKit",
    "RecordingInbox",
    "SignedRequest",
    "deliver",
    "events_client_of",
    "sample",
    "signed",
]
