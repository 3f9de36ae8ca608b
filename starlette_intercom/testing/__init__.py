"""What to test with: samples of notifications, signatures, and an Intercom of your own.

The conformance suite for inboxes is ``starlette_intercom.testing.conformance``; it needs pytest and Hypothesis, so it
is imported from there.
"""

from .fake_intercom import FakeIntercom, FakeRequest, Fault
from .samples import sample
from .signing import SignedRequest, signed

__all__ = ["FakeIntercom", "FakeRequest", "Fault", "SignedRequest", "sample", "signed"]
