"""Imports an example as a user's server would: with its settings in the environment, in a directory of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from starlette_intercom import Intercom
from starlette_intercom.testing import FakeIntercom
from tests.factories import SECRET

EXAMPLES = Path(__file__).parents[2] / "examples"
FIN_SECRET = "a-made-up-fin-secret"
TOKEN = "a-made-up-token"

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import examples by name, anew for each test."""
    monkeypatch.chdir(tmp_path)  # some make files
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("INTERCOM_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("INTERCOM_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("INTERCOM_FIN_SECRET", FIN_SECRET)
    known = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(EXAMPLES)):
            del sys.modules[name]


@pytest.fixture
def fake() -> FakeIntercom:
    return FakeIntercom(access_token=TOKEN, contacts={"user-1", "user-2", "contact-1"})


@pytest.fixture
def in_front_of_fake(fake: FakeIntercom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every example that is loaded afterwards send its events to the fake."""
    from_env = Intercom.from_env

    def with_fake(**options: Any) -> Intercom:
        http_client = httpx.AsyncClient(transport=httpx.ASGITransport(fake))
        return from_env(http_client=http_client, **options)

    monkeypatch.setattr(Intercom, "from_env", with_fake)


def transport_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
