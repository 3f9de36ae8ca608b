"""What to test with."""

from .fake_intercom import FakeIntercom, FakeRequest, Fault

__all__ = ["FakeIntercom", "FakeRequest", "Fault"]
