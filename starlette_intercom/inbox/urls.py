"""An inbox from a URL."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from ..errors import ConfigurationError
from .contract import Inbox
from .memory import MemoryInbox
from .sqlite import SQLiteInbox


def inbox_from_url(url: str) -> Inbox:
    """Make the inbox that a URL names.

    Args:
        url: ``memory:``, or ``sqlite:///relative.db`` (``sqlite:////absolute/path.db`` has four slashes),
            or ``redis://host:6379/0`` (``rediss://`` for TLS), which needs the extra ``redis``.

    Raises:
        ConfigurationError: no inbox goes by that URL.
    """
    if not isinstance(url, str):
        raise ConfigurationError("inbox must be a URL, such as 'sqlite:///intercom.db', or an Inbox.")
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryInbox()
    if scheme in ("redis", "rediss"):
        return _redis_inbox(url)
    if scheme == "sqlite":
        path = unquote(url.removeprefix("sqlite://").partition("?")[0])
        if not path.startswith("/") or path == "/":
            raise ConfigurationError(
                "A SQLite inbox takes sqlite:///relative.db, or sqlite:////absolute/path.db with four slashes."
            )
        return SQLiteInbox(path[1:])
    # Only the scheme is shown: the rest may hold a password.
    raise ConfigurationError(
        f"No inbox goes by the scheme {scheme!r}. Use 'memory:', 'sqlite:///intercom.db', 'redis://…', or an Inbox "
        "of your own."
    )


def _redis_inbox(url: str) -> Inbox:
    try:
        from .redis import RedisInbox
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigurationError(
            "An inbox in Redis needs the redis package: pip install 'starlette-intercom[redis]'"
        ) from None
    return RedisInbox(url)
