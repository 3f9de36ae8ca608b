"""``listen``: a small local receiver that shows what arrives."""

from __future__ import annotations

import socket
from typing import Annotated, Any

import anyio
import msgspec
import typer
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import InvalidNotification
from ..notification import StoredNotification
from ..receiving.guard import MAX_BODY_SIZE
from ..receiving.signature import HUB_SIGNATURE, Secrets, verify
from .credentials import SecretOption, client_secrets
from .exits import OK, CommandError
from .output import note, printable, say, say_json


def listen(
    secret: SecretOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 8000,
    path: Annotated[str, typer.Option(help="Where notifications arrive.")] = "/webhooks/intercom",
    payload: Annotated[bool, typer.Option("--payload", help="Also show what each is about: personal data.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")] = False,
) -> int:
    """Show what arrives, with a verdict on each signature, and answer as your app would. Nothing is stored."""
    if not path.startswith("/"):
        raise CommandError("--path starts with a slash, such as /webhooks/intercom.")
    receiver = _Receiver(Secrets(client_secrets(secret)), payload=payload, json=json)
    app = Starlette(routes=[Route(path, receiver.receive, methods=["POST", "HEAD"])])
    try:
        bound = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port.") from None
    # Else each answer on a kept-alive connection waits 40 ms: asyncio only does this for sockets that it made.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off"))
    with bound:
        note(f"Listening on http://{host}:{bound.getsockname()[1]}{path} - stop with Ctrl-C.")
        try:
            anyio.run(server.serve, [bound])
        except KeyboardInterrupt:
            note(f"{receiver.seen} requests seen.")
    return OK


class _Receiver:
    def __init__(self, secrets: Secrets, *, payload: bool, json: bool) -> None:
        self._secrets = secrets
        self._payload = payload
        self._json = json
        self.seen = 0

    async def receive(self, request: Request) -> Response:
        self.seen += 1
        if request.method == "HEAD":
            self._show({"verdict": "check", "method": "HEAD"}, "HEAD: Intercom's check of the URL", "cyan")
            return Response()
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_SIZE:
                    self._show({"verdict": "too large"}, f"refused: over {MAX_BODY_SIZE} bytes", "red")
                    return JSONResponse({"error": "Body too large"}, 413, headers={"connection": "close"})
        except ClientDisconnect:
            return Response()
        given = request.headers.getlist(HUB_SIGNATURE.header)
        if not given:
            self._show({"verdict": "missing", "bytes": len(body)}, f"no signature, {len(body)} bytes", "red")
            return JSONResponse({"error": f"Missing {HUB_SIGNATURE.header}"}, 401)
        matched = verify(bytes(body), given[0], self._secrets) if len(given) == 1 else None
        if matched is None:
            self._show({"verdict": "invalid", "bytes": len(body)}, f"invalid signature, {len(body)} bytes", "red")
            return JSONResponse({"error": "Invalid signature"}, 401)
        return self._verified(bytes(body), matched)

    def _verified(self, body: bytes, secret_name: str) -> Response:
        try:
            notification: StoredNotification[Any] = StoredNotification.read(body)
        except InvalidNotification as error:
            fields = {"verdict": "valid", "secret": secret_name, "bytes": len(body), "error": str(error)}
            self._show(fields, f"valid signature, but {printable(error)}", "red")
            return JSONResponse({"error": str(error)}, 400)
        fields = {
            "verdict": "valid",
            "secret": secret_name,
            "bytes": len(body),
            "topic": notification.topic,
            "id": notification.id,
            "app_id": notification.app_id,
            "created_at": notification.created_at,
        }
        text = (
            f"valid  {printable(notification.topic)}  {printable(notification.id or '(no id)')}  "
            f"workspace {printable(notification.app_id)}, {len(body)} bytes, secret {secret_name}"
        )
        self._show(fields, text, "green", body)
        return JSONResponse({"received": True})

    def _show(self, fields: dict[str, Any], text: str, style: str, body: bytes | None = None) -> None:
        if self._json:
            say_json({**fields, "notification": msgspec.Raw(body)} if body and self._payload else fields)
            return
        say(text, style)
        if body and self._payload:
            pretty = msgspec.json.format(body, indent=2).decode("utf-8", "replace")
            say("\n".join(map(printable, pretty.splitlines())))
