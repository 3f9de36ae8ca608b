"""A bare ASGI app that knows no lifespan, wrapped."""

from starlette.types import Receive, Scope, Send

from starlette_intercom import Intercom, IntercomMiddleware, Notification

intercom = Intercom("a-made-up-client-secret")


@intercom.on("*")
async def handle(notification: Notification) -> None:
    print(f"handler: end {notification.id}", flush=True)


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"bare"})


app = IntercomMiddleware(bare, intercom=intercom)
