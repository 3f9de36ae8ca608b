"""Tracebacks that show the variables of each frame, as rich and error trackers do, show no secret and no token."""

from __future__ import annotations

import hmac
import io
import traceback
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from starlette_intercom import EventApiError, EventsClient, SignatureGuard, Unauthorized, sign, verify
from starlette_intercom.testing import FakeIntercom
from tests.asgi import call
from tests.factories import headers_of

# Only global names: a local one of the test would be shown, as it would be of the user's own function.
SECRET = "the-client-secret-of-the-app"
OTHER = "another-secret-while-rotating"
TOKEN = "dG9rOmFjY2Vzcy10b2tlbg"


HEADERS = headers_of(b"{}", secret=SECRET)


class Defect(Exception):
    """Raised where nothing is expected to raise."""


def fail(*args: Any, **options: Any) -> Any:
    raise Defect


async def failing_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise Defect


def by_standard_library(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def by_rich(error: BaseException) -> str:
    pytest.importorskip("rich", reason="NOT TRIED WITH RICH: install it")
    from rich.console import Console
    from rich.traceback import Traceback

    page = io.StringIO()
    shown = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_length=1000, locals_max_string=10_000
    )
    Console(file=page, width=300).print(shown)
    return page.getvalue()


def signing_fails() -> None:
    sign("no bytes", SECRET)  # type: ignore[arg-type]


def verifying_fails() -> None:
    verify(b"body", "sha1=" + "0" * 40, {"old": OTHER, "new": SECRET})


def guarded_app_fails() -> None:
    anyio.run(deliver_to_failing_app)


async def deliver_to_failing_app() -> None:
    await call(SignatureGuard(failing_app, secrets=[SECRET, OTHER]), [b"{}"], headers=HEADERS)


async def track() -> None:
    transport = httpx.ASGITransport(FakeIntercom())
    async with (
        httpx.AsyncClient(transport=transport) as http_client,
        EventsClient(access_token=TOKEN, http_client=http_client, base_url="http://fake") as client,
    ):
        await client.track("placed-order", user_id="u")


def refused_token() -> None:
    anyio.run(track)


class FailingClient:
    """An HTTP client with a hook of its user that fails."""

    request = fail


async def track_with_failing_client() -> None:
    async with EventsClient(access_token=TOKEN, http_client=FailingClient()) as client:
        await client.track("placed-order", user_id="u")


def failing_http_client() -> None:
    anyio.run(track_with_failing_client)


@pytest.mark.parametrize("show", [by_standard_library, by_rich])
@pytest.mark.parametrize(
    ("do", "expected"),
    [
        (signing_fails, TypeError),
        (verifying_fails, Defect),
        (guarded_app_fails, Defect),
        (refused_token, Unauthorized),
        (failing_http_client, EventApiError),
    ],
)
def test_no_local_variable_shows_a_secret(
    do: Callable[[], None],
    expected: type[Exception],
    show: Callable[[BaseException], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if do is verifying_fails:
        monkeypatch.setattr(hmac, "compare_digest", fail)
    with pytest.raises(expected) as raised:
        do()
    text = show(raised.value)
    assert "starlette_intercom" in text
    assert [name for name, value in {"SECRET": SECRET, "OTHER": OTHER, "TOKEN": TOKEN}.items() if value in text] == []
