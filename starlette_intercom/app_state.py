"""Where an app's endpoints find the ``Intercom``."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import State
from starlette.types import ASGIApp, Scope

from .errors import ConfigurationError


def bind_to_app(intercom: object, scope: Scope, app: ASGIApp) -> None:
    """Make it known as ``app.state.intercom`` and, through the lifespan state, as ``request.state.intercom``.

    Args:
        intercom: the ``Intercom``.
        scope: of the lifespan; empty where there is none.
        app: whose state is used where the scope names no app; any ASGI app, with a state or without.

    Raises:
        ConfigurationError: one of the names is taken by something else.
    """
    state = _state_of(scope.get("app", app))
    if state is not None:
        if getattr(state, "intercom", intercom) is not intercom:
            raise ConfigurationError("app.state.intercom is taken by something else: give that another name.")
        state.intercom = intercom
    shared = scope.get("state")
    if shared is not None:
        if shared.get("intercom", intercom) is not intercom:
            raise ConfigurationError("The lifespan state has another 'intercom' already: give that another name.")
        shared["intercom"] = intercom


def _state_of(app: Any) -> State | None:
    """Find ``app.state`` of a Starlette or FastAPI app, also below other middleware."""
    while app is not None:
        state = getattr(app, "state", None)
        if isinstance(state, State):
            return state
        app = getattr(app, "app", None)
    return None
