"""What the package offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import starlette_intercom
import starlette_intercom.events
import starlette_intercom.testing

EXTRAS = ("redis", "taskiq", "httpx2", "typer", "rich", "opentelemetry", "pytest", "hypothesis", "trio", "pydantic")


@pytest.mark.parametrize(
    "module", [starlette_intercom, starlette_intercom.events, starlette_intercom.testing], ids=lambda m: m.__name__
)
def test_everything_that_is_exported_exists(module: object) -> None:
    names: list[str] = module.__all__  # type: ignore[attr-defined]
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(module, name) is not None


def test_the_names_are_sorted() -> None:
    names = starlette_intercom.__all__
    constants = [name for name in names if name.isupper()]
    classes = [name for name in names if name[0].isupper() and not name.isupper()]
    rest = [name for name in names if name not in (*constants, *classes)]
    assert names == [*sorted(constants), *sorted(classes), *sorted(rest)]


def test_what_is_exported_is_documented() -> None:
    for name in starlette_intercom.__all__:
        member = getattr(starlette_intercom, name)
        assert name.isupper() or isinstance(member, str) or member.__doc__, name


def test_importing_it_imports_no_extra() -> None:
    # httpx first: it imports rich by itself, where that is installed.
    check = (
        "import sys, anyio, httpx, msgspec, starlette; before = set(sys.modules); import starlette_intercom; "
        f"print(sorted({set(EXTRAS)} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", check], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_what_needs_an_extra_is_imported_when_asked_for() -> None:
    from starlette_intercom import RedisInbox, TaskiqRunner

    assert RedisInbox.__module__ == "starlette_intercom.inbox.redis.inbox"
    assert TaskiqRunner.__module__ == "starlette_intercom.handling.taskiq"
    with pytest.raises(AttributeError, match="Nothing"):
        _ = starlette_intercom.Nothing  # type: ignore[attr-defined]
