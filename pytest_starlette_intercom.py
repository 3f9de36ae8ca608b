"""The pytest plugin: fixtures for tests of an app that uses ``starlette_intercom``.

pytest loads this in every run where the library is installed, so it imports nothing of it before a fixture is used. It
is a module of its own for the same reason: one inside the package would import the package, and that before tools that
measure coverage have begun.

``intercom_kit`` and ``events_client`` are asynchronous fixtures for tests that anyio's pytest plugin runs
(``@pytest.mark.anyio``). With another plugin, write ``async with IntercomKit(handlers) as kit`` in the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette_intercom import EventsClient, HandlerRegistry
    from starlette_intercom.testing import FakeIntercom, IntercomKit


@pytest.fixture
def fake_intercom() -> FakeIntercom:
    """Give an Intercom to send events to, in this process."""
    from starlette_intercom.testing import FakeIntercom

    return FakeIntercom()


@pytest.fixture
async def events_client(anyio_backend: object, fake_intercom: FakeIntercom) -> AsyncIterator[EventsClient]:
    """Give a running client whose events go to ``fake_intercom``."""
    from starlette_intercom.testing import events_client_of

    async with events_client_of(fake_intercom) as client:
        yield client


@pytest.fixture
def intercom_handlers() -> HandlerRegistry | None:
    """Override this in a ``conftest.py`` to return your handlers: a ``HandlerRegistry``, or your ``Intercom``."""
    return None


@pytest.fixture
async def intercom_kit(
    anyio_backend: object, fake_intercom: FakeIntercom, intercom_handlers: HandlerRegistry | None
) -> AsyncIterator[IntercomKit]:
    """Give a running Intercom around the handlers of ``intercom_handlers``: deliver, drain, and look what happened."""
    from starlette_intercom.testing import IntercomKit

    async with IntercomKit(intercom_handlers, fake=fake_intercom) as kit:
        yield kit
