"""Everything that Intercom signs, behind its signature: notifications, Canvas Kit, health checks, uninstalls, Fin.

    INTERCOM_CLIENT_SECRET=… INTERCOM_FIN_SECRET=… uvicorn --app-dir examples canvas_kit:app

Notifications carry X-Hub-Signature, Canvas Kit and the app's own endpoints X-Body-Signature, and Fin's events
X-Fin-Agent-API-Webhook-Signature with a secret of their own. The addresses for the Developer Hub:

    Webhooks                  https://your-host/webhooks/intercom
    Canvas Kit, Initialize    https://your-host/intercom/initialize
    Canvas Kit, Submit        https://your-host/intercom/submit
    Installation status       https://your-host/intercom/health
    Uninstall                 https://your-host/intercom/uninstall
    Fin Agent API             https://your-host/fin/events
"""

import os
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, Router

from starlette_intercom import (
    BODY_SIGNATURE,
    FIN_SIGNATURE,
    Intercom,
    IntercomMiddleware,
    Notification,
    SignatureGuard,
)

intercom = Intercom.from_env()


@intercom.on("conversation.user.created")
async def answer(notification: Notification) -> None:
    print(f"conversation {notification.item['id']} has begun", flush=True)


def canvas(*components: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"canvas": {"content": {"components": components}}})


async def initialize(request: Request) -> JSONResponse:
    return canvas(
        {"type": "input", "id": "order", "label": "Order number"},
        {"type": "button", "id": "search", "label": "Search", "style": "primary", "action": {"type": "submit"}},
    )


async def submit(request: Request) -> JSONResponse:
    submitted = await request.json()
    order = submitted["input_values"]["order"]
    return canvas({"type": "text", "text": f"Order {order} is on its way.", "style": "header"})


async def health(request: Request) -> JSONResponse:
    workspace = (await request.json())["workspace_id"]
    print(f"asked about workspace {workspace}", flush=True)
    return JSONResponse({"state": "OK"})  # or UNHEALTHY, or UNKNOWN


async def uninstall(request: Request) -> Response:
    workspace = (await request.json())["app_id"]
    print(f"uninstalled from workspace {workspace}", flush=True)
    return Response(status_code=200)


async def fin_event(request: Request) -> Response:
    event = await request.json()
    match event["event_name"]:
        case "fin_replied":
            print("Fin has replied", flush=True)
        case "fin_status_updated":
            print("Fin's status has changed", flush=True)
        case other:  # such as csat_requested
            print(f"Fin says {other}", flush=True)
    return Response(status_code=200)


of_the_app = Router(
    routes=[
        Route("/initialize", initialize, methods=["POST"]),
        Route("/submit", submit, methods=["POST"]),
        Route("/health", health, methods=["POST"]),
        Route("/uninstall", uninstall, methods=["POST"]),
    ]
)
of_fin = Router(routes=[Route("/events", fin_event, methods=["POST"])])

app = Starlette(
    routes=[
        Mount(
            "/intercom",
            SignatureGuard(of_the_app, secrets=os.environ["INTERCOM_CLIENT_SECRET"].split(","), scheme=BODY_SIGNATURE),
        ),
        Mount("/fin", SignatureGuard(of_fin, secrets=os.environ["INTERCOM_FIN_SECRET"], scheme=FIN_SIGNATURE)),
    ],
    middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")],
)
