"""Around any ASGI app: the library needs no Starlette app inside.

    INTERCOM_CLIENT_SECRET=… uvicorn --app-dir examples wrap_any_app:app

With Django the last lines of your asgi.py would be:

    app = IntercomMiddleware(get_asgi_application(), intercom=intercom, path="/webhooks/intercom")
"""

from starlette.types import Receive, Scope, Send

from starlette_intercom import Intercom, IntercomMiddleware, Notification

intercom = Intercom.from_env()


@intercom.on("conversation.user.created")
def answer(notification: Notification) -> None:  # plain functions run in a thread, where Django's ORM may be used
    print(f"conversation {notification.item['id']} has begun", flush=True)


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for your app; it gets everything but Intercom's path, and may or may not know lifespans."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"Your own app is not touched.\n"})


app = IntercomMiddleware(site, intercom=intercom, path="/webhooks/intercom")
