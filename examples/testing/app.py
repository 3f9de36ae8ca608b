"""An app that is easy to test: its handlers stand in a registry, and a function makes the app.

INTERCOM_CLIENT_SECRET=… INTERCOM_ACCESS_TOKEN=… uvicorn --factory --app-dir examples testing.app:create_app
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware

from starlette_intercom import EventsClient, HandlerRegistry, Intercom, IntercomMiddleware, Notification, Reject

handlers = HandlerRegistry()


@handlers.on("conversation.user.created")
async def count(notification: Notification, events: EventsClient) -> None:
    author = notification.item["source"]["author"]
    if author["type"] == "lead":
        raise Reject("conversations of leads are not counted")
    await events.track("started-conversation", id=author["id"], created_at=notification.created_at)


def create_app(intercom: Intercom | None = None) -> Starlette:
    intercom = intercom or Intercom.from_env()
    intercom.include(handlers)
    return Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")])
