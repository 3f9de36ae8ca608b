"""The app that is to be exhausted: one handler, which looks at each item."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware

from starlette_intercom import Intercom, IntercomMiddleware, Notification
from tests.factories import SECRET, TOPIC

intercom = Intercom(SECRET)


@intercom.on(TOPIC, retries=0)
async def look(notification: Notification) -> None:
    assert notification.item is not None


app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom)])
