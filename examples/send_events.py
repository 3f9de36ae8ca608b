"""Send events from an app: at once, in the background, and many of them.

    INTERCOM_CLIENT_SECRET=… INTERCOM_ACCESS_TOKEN=… uvicorn --app-dir examples send_events:app

With a SQLite inbox what is enqueued survives a crash; it is sent after the next start. backfill.py is a script that
sends events without an app.
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from starlette_intercom import (
    ContactNotFound,
    Event,
    EventsClient,
    Intercom,
    IntercomMiddleware,
    Money,
    Notification,
    RichLink,
)

intercom = Intercom.from_env(inbox="sqlite:///intercom.db")


async def place_order(request: Request) -> Response:
    """Wait for Intercom, and know that it has the event."""
    order = await request.json()
    try:
        await intercom.events.track(
            "placed-order",
            user_id=order["user_id"],
            metadata={
                "total": Money(order["cents"], "eur"),
                "order": RichLink(f"https://shop.example.com/orders/{order['id']}", order["id"]),
                "items": order["items"],
            },
        )
    except ContactNotFound:
        return JSONResponse({"error": "Intercom does not know this user"}, status_code=409)
    return Response(status_code=201)


async def view_page(request: Request) -> Response:
    """Answer without waiting for Intercom; the event is stored before the answer."""
    view = await request.json()
    await intercom.events.enqueue(Event("viewed-page", user_id=view["user_id"], metadata={"page": view["page"]}))
    return Response(status_code=202)


async def import_plans(request: Request) -> JSONResponse:
    """Send many; one that fails does not stop the others."""
    users = await request.json()
    result = await intercom.events.track_many(Event("upgraded-plan", user_id=user) for user in users)
    return JSONResponse({"sent": result.succeeded, "failed": result.failed_count})


@intercom.on("conversation.user.created")
async def count(notification: Notification, events: EventsClient) -> None:
    author = notification.item["source"]["author"]
    # The notification's time, so that Intercom drops the event as a repeat where this handler runs twice.
    await events.track("started-conversation", id=author["id"], created_at=notification.created_at)


app = Starlette(
    routes=[
        Route("/orders", place_order, methods=["POST"]),
        Route("/views", view_page, methods=["POST"]),
        Route("/plans", import_plans, methods=["POST"]),
    ],
    middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")],
)
