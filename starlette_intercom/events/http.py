"""Where Intercom is, and the HTTP client that reaches it: ours, or any that looks like ``httpx.AsyncClient``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol
from urllib.parse import urlsplit

import httpx

from ..errors import ConfigurationError
from ..version import __version__

Region = Literal["us", "eu", "au"]

REGIONS: Mapping[str, str] = {
    "us": "https://api.intercom.io",
    "eu": "https://api.eu.intercom.io",
    "au": "https://api.au.intercom.io",
}

MAX_CONNECTIONS = 20
"""httpx 0.28 walks its whole pool for every request: with more connections than this it gets slower, not faster."""


class HttpResponse(Protocol):
    """What is read of an answer."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, found in any case."""
        ...

    @property
    def content(self) -> bytes:
        """The whole body."""
        ...


class HttpClient(Protocol):
    """What an HTTP client must be able to do; ``httpx.AsyncClient`` and ``httpx2.AsyncClient`` are."""

    async def request(
        self, method: str, url: str, /, *, content: bytes | None, headers: Mapping[str, str] | None
    ) -> HttpResponse:
        """Send a request and read the whole answer.

        Failures to reach the server are raised as ``OSError`` or as an exception of which a base class is named
        ``RequestError`` or ``TransportError``.
        """
        ...


def base_address(region: str, base_url: str | None) -> str:
    """Tell where requests go.

    Args:
        region: ``us``, ``eu`` or ``au``.
        base_url: an address to use instead, for tests and proxies.

    Returns:
        The address without a slash at its end.

    Raises:
        ConfigurationError: an unknown region, or no address.
    """
    if base_url is None:
        if region not in REGIONS:
            raise ConfigurationError(f"region={region!r} is unknown; use one of {', '.join(map(repr, REGIONS))}.")
        return REGIONS[region]
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError("base_url takes an address such as 'https://api.intercom.io', without a query.")
    return base_url.rstrip("/")


def request_headers(access_token: str, api_version: str) -> httpx.Headers:
    """Make the headers of every request.

    Args:
        access_token: the app's token.
        api_version: the version of Intercom's API that is asked for.

    Returns:
        The headers, of a type that does not show the token.

    Raises:
        ConfigurationError: the token or the version cannot be sent in a header.
    """
    if not access_token:
        raise ConfigurationError("access_token is empty; pass the access token of your app's Developer Hub page.")
    if not access_token.isascii() or not access_token.isprintable() or " " in access_token:
        raise ConfigurationError("access_token contains spaces or characters that no token has; was it cut or quoted?")
    if not api_version.isascii() or not api_version.isprintable():
        raise ConfigurationError("api_version takes a version of Intercom's API, such as '2.16'.")
    return httpx.Headers(
        {
            "Authorization": f"Bearer {access_token}",
            "Intercom-Version": api_version,
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"starlette-intercom/{__version__}",
        }
    )


def own_client(headers: Mapping[str, str], timeout: float) -> httpx.AsyncClient:
    """Make the client that is used unless the user brings one.

    Args:
        headers: sent with every request. httpx is faster if it has them from the start.
        timeout: seconds for each step of a request.

    Returns:
        A client, to be closed by the caller.
    """
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
    return httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits)


def is_connection_trouble(error: Exception) -> bool:
    """Tell whether an HTTP client's exception means that the server was not reached, or did not answer properly.

    By name, since the client may be of a library that is not installed here.

    Args:
        error: what the client raised.

    Returns:
        True where another try makes sense.
    """
    return isinstance(error, OSError) or any(
        base.__name__ in ("RequestError", "TransportError") for base in type(error).__mro__
    )
