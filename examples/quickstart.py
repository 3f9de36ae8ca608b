"""Start here: a Starlette app that receives Intercom's notifications.

    INTERCOM_CLIENT_SECRET=… uvicorn --app-dir examples quickstart:app

Then give Intercom the address https://your-host/webhooks/intercom, in the Developer Hub under Webhooks.
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from starlette_intercom import Intercom, IntercomMiddleware, Notification

intercom = Intercom.from_env()


@intercom.on("conversation.user.created", "conversation.user.replied")
async def answer(notification: Notification) -> None:
    conversation = notification.item
    print(f"handled {notification.topic}: conversation {conversation['id']}", flush=True)


@intercom.on("ping")
def pong(notification: Notification) -> None:  # plain functions run in a thread
    print("handled ping", flush=True)


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Your own routes are not touched.\n")


app = Starlette(
    routes=[Route("/", home)],
    middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")],
)
