"""Mistakes that type checkers find before anything runs, and right uses that they leave alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

START = """\
import msgspec
from starlette.applications import Starlette
from starlette_intercom import *

class Contact(msgspec.Struct):
    email: str

class Company(msgspec.Struct):
    name: str

intercom = Intercom("secret")
"""

# What is written, and what mypy says to it.
WRONG = {
    "a decorator without its topics": (
        """
        @intercom.on
        async def handle(notification: Notification) -> None: ...
        """,
        "No overload variant",
    ),
    "a topic that is no text": ("intercom.on(5)", "No overload variant"),
    "a handler that is not callable": ("intercom.on('ping', handler=5)", "No overload variant"),
    "a decorated value that is not callable": ("intercom.on('ping')(5)", "cannot be"),
    "an option that does not exist": ("intercom.on('ping', retry=5)", "No overload variant"),
    "an option of the wrong type": ("intercom.on('ping', retries='5')", "No overload variant"),
    "a handler for another item": (
        """
        @intercom.on('contact.user.created', item=Contact)
        async def handle(notification: Notification[Company]) -> None: ...
        """,
        "Notification[Contact]",
    ),
    "a handler in a thread for another item": (
        """
        @intercom.on('contact.user.created', item=Contact)
        def handle(notification: Notification[Company], delivery: Delivery) -> None: ...
        """,
        "Notification[Contact]",
    ),
    "an item that no parameter takes": (
        """
        @intercom.on('contact.user.created', item=Contact)
        async def handle(delivery: Delivery) -> None: ...
        """,
        "Notification[Contact]",
    ),
    "a value in place of its type": ("intercom.on('ping', item=Contact('a@example.com'))", "No overload variant"),
    "a name in place of its type": ("intercom.on('ping', item='Contact')", "No overload variant"),
    "an attribute that the item does not have": (
        """
        async def handle(notification: Notification[Contact]) -> None:
            print(notification.item.name)
        """,
        '"Contact" has no attribute "name"',
    ),
    "an item in place of another": (
        """
        async def handle(notification: Notification[Contact]) -> Company:
            return notification.item
        """,
        'expected "Company"',
    ),
    "an item that was converted": (
        """
        async def handle(notification: Notification) -> Company:
            return notification.item_as(Contact)
        """,
        'expected "Company"',
    ),
    "an item without its key": (
        """
        async def handle(notification: Notification[Contact]) -> None:
            print(notification.item["email"])
        """,
        "not indexable",
    ),
    "a notification that is changed": (
        """
        async def handle(notification: Notification) -> None:
            notification.topic = "ping"
        """,
        "read-only",
    ),
    "an id that may be null": (
        """
        async def handle(notification: Notification) -> str:
            return notification.id
        """,
        'expected "str"',
    ),
    "a call of a handler that was decorated": (
        """
        @intercom.on('contact.user.created', item=Contact)
        async def handle(notification: Notification[Contact], delivery: Delivery) -> None: ...

        async def call(notification: Notification[Contact]) -> None:
            await handle(notification)
        """,
        'Missing positional argument "delivery"',
    ),
    "what is not verified into the inbox": (
        """
        async def store(inbox: Inbox, notification: Notification) -> None:
            await inbox.accept(notification, key="1")
        """,
        "VerifiedNotification",
    ),
    "bytes as if they were verified": ("VerifiedNotification(b'{}')", "VerifiedBody"),
    "no secret": ("Intercom()", "client_secret"),
    "a secret that may be unset": (
        """
        import os
        Intercom(os.environ.get("SECRET"))
        """,
        'expected "str |',
    ),
    "a region that does not exist": ("Intercom('secret', region='uk')", "Literal['us', 'eu', 'au']"),
    "a hook that is not callable": ("intercom.on_error(5)", "cannot be"),
    "something else in place of a registry": ("intercom.include([])", 'expected "HandlerRegistry"'),
    "the middleware without its intercom": ("IntercomMiddleware(Starlette())", "intercom"),
    "the middleware with a secret": ("IntercomMiddleware(Starlette(), intercom='secret')", 'expected "Intercom"'),
    "metadata that is nested": (
        """
        async def send(events: EventsClient) -> None:
            await events.track("placed-order", user_id="1", metadata={"items": {"a": 1}})
        """,
        "dict-item",
    ),
    "an event with its contact by position": ("Event('placed-order', 'user-1')", "Too many positional arguments"),
    "a time that is text": ("Event('placed-order', user_id='1', created_at='2026-01-01')", 'expected "int | datetime"'),
}


def written(code: str) -> str:
    lines = code.strip("\n").splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip())
    return START + "\n".join(line[margin:] for line in lines) + "\n"


def name_of(mistake: str) -> str:
    return re.sub(r"\W+", "_", mistake)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what mypy says to all mistakes: one run, since it reads the library again for each."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("wrong")
    for mistake, (code, _) in WRONG.items():
        (folder / f"{name_of(mistake)}.py").write_text(written(code))
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", folder / "cache", folder],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("mistake", WRONG)
def test_mypy_finds(mistake: str, said: str) -> None:
    found = [line for line in said.splitlines() if line.startswith(f"{name_of(mistake)}.py:") and "error:" in line]
    assert any(WRONG[mistake][1] in line for line in found), said


def test_pyright_accepts_what_is_right() -> None:
    pytest.importorskip("pyright")
    ran = run_pyright("--pythonpath", sys.executable, "tests/typing/right_uses.py")
    assert ran.returncode == 0, ran.stdout


def test_pyright_finds_every_mistake(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    for mistake, (code, _) in WRONG.items():
        (tmp_path / f"{name_of(mistake)}.py").write_text(written(code))
    ran = run_pyright("--pythonpath", sys.executable, str(tmp_path))
    missed = [mistake for mistake in WRONG if not re.search(rf"{name_of(mistake)}\.py:.* error: ", ran.stdout)]
    assert missed == [], ran.stdout


def run_pyright(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyright", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
