"""IntercomMiddleware: one path goes to the webhook sub-application, everything else passes untouched."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ConfigurationError
from .intercom import Intercom
from .lifespan import LifespanResponder

PATH = "/webhooks/intercom"
"""Where Intercom is told to send its notifications, unless you choose another path."""


class IntercomMiddleware:
    """Pure ASGI middleware that keeps one path for Intercom, and starts and stops the library with the app.

    Works as ``Middleware(IntercomMiddleware, intercom=intercom)`` in Starlette, with ``app.add_middleware`` in FastAPI,
    and around any ASGI app.

    Args:
        app: gets everything that is not on the path.
        intercom: what receives the notifications.
        path: matched exactly, below ``root_path`` and after decoding, with every method.

    Raises:
        ConfigurationError: the path is no absolute path, or ``intercom`` is something else.
    """

    def __init__(self, app: ASGIApp, *, intercom: Intercom, path: str = PATH) -> None:
        if not isinstance(intercom, Intercom):
            raise ConfigurationError("IntercomMiddleware needs intercom=Intercom(…).")
        if not isinstance(path, str):
            raise ConfigurationError("path must be a str, such as '/webhooks/intercom'.")
        if not path.startswith("/") or path == "/":
            raise ConfigurationError("path must start with a slash and name a path of its own: '/webhooks/intercom'.")
        if any(mark in path for mark in "?#%"):
            raise ConfigurationError("path is matched after decoding: write it without query, fragment and escapes.")
        self.app = app
        self.intercom = intercom
        self.path = path
        self._webhooks = intercom.webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = scope.get("path")
        if path is None:
            if scope["type"] == "lifespan":
                await LifespanResponder(self.app, self.intercom, scope, receive, send).run()
            else:
                await self.app(scope, receive, send)
        elif path.endswith(self.path) and _is_below_root(path, scope.get("root_path", ""), self.path):
            await self._webhooks(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _is_below_root(path: str, root: str, wanted: str) -> bool:
    """Tell whether a path is the wanted one, with or without the root path in front: servers differ in that."""
    return path == wanted or path == root.rstrip("/") + wanted
