"""Signed requests, as Intercom would send them, for a test client of your own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..receiving.signature import HUB_SIGNATURE, SignatureScheme, sign


class SignedRequest(msgspec.Struct, frozen=True, gc=False):
    """A body and the headers that Intercom sends with it.

    Attributes:
        body: the exact bytes that are signed.
        headers: ``Content-Type``, ``Accept``, ``User-Agent``, and the header of the signature.
    """

    body: bytes
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"<SignedRequest of {len(self.body)} bytes>"


def signed(
    notification: Mapping[str, Any] | bytes, secret: str | bytes, *, scheme: SignatureScheme = HUB_SIGNATURE
) -> SignedRequest:
    """Sign what Intercom would send.

    ::

        request = signed(sample("contact.user.created"), "client-secret")
        response = client.post("/webhooks/intercom", content=request.body, headers=request.headers)

    Args:
        notification: what :func:`sample` returns or any other JSON object; bytes are sent as they are.
        secret: the client secret of the Intercom app.
        scheme: how it is signed: a webhook by default, or ``BODY_SIGNATURE`` for Canvas Kit, health checks and
            uninstalls, or ``FIN_SIGNATURE`` for Fin's events.

    Raises:
        ConfigurationError: the secret is empty.
    """
    body = notification if isinstance(notification, bytes) else msgspec.json.encode(notification)
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": "intercom-parrot-service-client/1.0",
        scheme.header: sign(body, secret, scheme),
    }
    return SignedRequest(body, headers)
