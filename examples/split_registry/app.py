"""The app: makes the Intercom and gives it every module's handlers."""

from starlette.applications import Starlette
from starlette.middleware import Middleware

from starlette_intercom import Intercom, IntercomMiddleware

from . import alerts, contacts, conversations

intercom = Intercom.from_env()
intercom.include(conversations.handlers)
intercom.include(contacts.handlers)
intercom.include(alerts.hooks)

app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")])
