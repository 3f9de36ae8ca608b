"""Notifications delivered as Intercom does it, to an app in this process or over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
from starlette.types import ASGIApp

from ..intercom import Intercom
from ..middleware import PATH
from ..receiving.signature import HUB_SIGNATURE, SignatureScheme
from .signing import signed


class DeliveryAnswer(msgspec.Struct, frozen=True):
    """What a delivery was answered with.

    Attributes:
        status: HTTP status.
        content: the body, decoded where it is JSON; None where it is not.
    """

    status: int
    content: Any

    @property
    def received(self) -> bool:
        """It was taken: 200, and Intercom will not send it again."""
        return self.status == 200 and isinstance(self.content, dict) and self.content.get("received") is True

    @property
    def duplicate(self) -> bool:
        """It was known already, and no handler runs again."""
        return self.received and self.content.get("duplicate") is True


async def deliver(
    target: Intercom | ASGIApp | str,
    notification: Mapping[str, Any] | bytes,
    *,
    secret: str | bytes,
    path: str = PATH,
    scheme: SignatureScheme = HUB_SIGNATURE,
) -> DeliveryAnswer:
    """Sign a notification and deliver it.

    ::

        answer = await deliver(app, sample("contact.user.created"), secret="client-secret")
        assert answer.received

    Args:
        target: an ``Intercom``, or an ASGI app, whose lifespan must be running; or the URL of an endpoint.
        notification: what :func:`sample` returns or any other JSON object; bytes are sent as they are.
        secret: the client secret of the Intercom app.
        path: where an app has its endpoint.
        scheme: how it is signed.

    Raises:
        httpx.TransportError: nothing answered at the URL.
    """
    request = signed(notification, secret, scheme=scheme)
    if isinstance(target, str):
        url, transport = target, None
    else:
        app = target.webhooks if isinstance(target, Intercom) else target
        url, transport = f"http://testserver{path}", httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        response = await client.post(url, content=request.body, headers=request.headers)
    try:
        content = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        content = None
    return DeliveryAnswer(response.status_code, content)
