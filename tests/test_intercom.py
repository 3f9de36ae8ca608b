"""The facade: its options, its states, and the order in which it starts and stops."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from starlette_intercom import (
    ConfigurationError,
    Delivery,
    EventsClient,
    InboxUnavailable,
    Intercom,
    MemoryInbox,
    Notification,
    Processor,
    Runner,
    TaskGroupRunner,
    get_intercom,
)
from starlette_intercom.testing import Clock, sample, signed
from tests.handling.faulty import FaultyInbox
from tests.handling.kit import TOPIC, until

pytestmark = pytest.mark.anyio

SECRET = "made-up-secret"


async def deliver(intercom: Intercom, topic: str = TOPIC, secret: str = SECRET, **overrides: object) -> httpx.Response:
    request = signed(sample(topic, **overrides), secret)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(intercom.webhooks), base_url="http://test") as client:
        return await client.post("/", content=request.body, headers=request.headers)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"client_secret": ""}, "empty"),
        ({"client_secret": []}, "no client secret"),
        ({"client_secret": None}, "must be a str"),
        ({"lease": 0.5}, "lease is in seconds"),
        ({"lease": float("inf")}, "lease"),
        ({"lease": float("nan")}, "lease"),
        ({"drain_timeout": -1}, "drain_timeout is in seconds"),
        ({"drain_timeout": float("nan")}, "drain_timeout"),
        ({"inbox": "mysql://root:pass@host"}, "No inbox goes by the scheme 'mysql'"),
        ({"inbox": 5}, "inbox must be a URL"),
        ({"region": "mars", "access_token": "token"}, "region"),
        ({"events": EventsClient(access_token="token"), "access_token": "token"}, "Give either"),
        ({"dead_letter_retention": 0}, "dead_letter_retention is in seconds"),
        ({"dead_letter_retention": float("nan")}, "dead_letter_retention"),
        ({"max_body_size": 0}, "max_body_size"),
        ({"read_timeout": 0}, "read_timeout"),
        ({"max_concurrent_reads": 0}, "max_concurrent_reads"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as caught:
        Intercom(**({"client_secret": SECRET} | options))
    assert "pass" not in str(caught.value)


def test_it_is_made_from_the_environment() -> None:
    intercom = Intercom.from_env(
        {
            "INTERCOM_CLIENT_SECRET": " old , new,",
            "INTERCOM_ACCESS_TOKEN": "token",
            "INTERCOM_INBOX": "memory:",
            "INTERCOM_REGION": "eu",
        },
        lease=5,
    )
    assert isinstance(intercom.inbox, MemoryInbox)
    assert isinstance(intercom.events, EventsClient)


def test_what_is_given_wins_over_the_environment() -> None:
    environment = {"INTERCOM_CLIENT_SECRET": "secret", "INTERCOM_INBOX": "nonsense:", "INTERCOM_REGION": "mars"}
    inbox = MemoryInbox()
    assert Intercom.from_env(environment, inbox=inbox).inbox is inbox
    with pytest.raises(ConfigurationError, match="nonsense"):
        Intercom.from_env(environment)
    Intercom.from_env({}, client_secret="secret")
    Intercom.from_env({"INTERCOM_CLIENT_SECRET": "secret", "INTERCOM_INBOX": "", "INTERCOM_ACCESS_TOKEN": ""})


def test_a_secret_that_was_copied_with_a_line_break() -> None:
    with pytest.raises(ConfigurationError, match="'1' has whitespace") as raised:
        Intercom("the-secret\n")
    assert "the-secret" not in str(raised.value)
    Intercom.from_env({"INTERCOM_CLIENT_SECRET": "the-secret\n"})  # as a file of secrets ends


@pytest.mark.parametrize("environment", [{}, {"INTERCOM_CLIENT_SECRET": ""}, {"INTERCOM_CLIENT_SECRET": " , "}])
def test_the_environment_must_have_a_secret(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="INTERCOM_CLIENT_SECRET is not set"):
        Intercom.from_env(environment)


def test_without_a_token_there_is_no_events_client() -> None:
    with pytest.raises(ConfigurationError, match="access_token="):
        _ = Intercom(SECRET).events


async def test_a_notification_is_handled_and_counted() -> None:
    intercom = Intercom({"old": "old-secret", "new": "new-secret"})
    got: list[object] = []

    @intercom.on(TOPIC)
    async def handler(notification: Notification, itself: Intercom) -> None:
        got.append(itself)

    async with intercom.lifespan(Starlette()):
        for secret in ("old-secret", "new-secret", "new-secret"):
            assert (await deliver(intercom, secret=secret)).json() == {"received": True}
        await until(lambda: len(got) == 3)
        assert got[0] is intercom
        assert intercom.secret_uses == {"old": 1, "new": 2}
    assert (await intercom.stats()).done == 3


async def test_an_inbox_in_memory_says_what_it_cannot_do(caplog: pytest.LogCaptureFixture) -> None:
    intercom = Intercom(SECRET, drain_timeout=0)

    @intercom.on(TOPIC)
    async def handler(notification: Notification) -> None:
        await anyio.sleep_forever()

    async with intercom.lifespan(Starlette()):
        assert "a crash loses every notification" in caplog.text
        await deliver(intercom)
    assert "closed with 1 unfinished deliveries" in caplog.text


async def test_a_durable_inbox_gives_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with Intercom(SECRET, inbox=FaultyInbox(MemoryInbox())).lifespan(Starlette()):
        pass
    assert not caplog.records


async def test_before_and_after_its_lifespan_it_takes_nothing() -> None:
    intercom = Intercom(SECRET)
    intercom.on(TOPIC, handler=lambda notification: None)
    assert (await deliver(intercom)).status_code == 503
    async with intercom.lifespan(Starlette()):
        assert (await deliver(intercom)).status_code == 200
    assert (await deliver(intercom)).status_code == 503


async def test_it_can_be_started_again_but_not_twice() -> None:
    intercom = Intercom(SECRET)
    app = Starlette()
    for _ in range(2):
        async with intercom.lifespan(app) as state:
            assert state == {"intercom": intercom}
            with pytest.raises(ConfigurationError, match="started twice"):
                async with intercom.lifespan(app):
                    pass
            assert (await deliver(intercom)).status_code == 200


async def test_steps_out_of_order() -> None:
    intercom = Intercom(SECRET)
    await intercom.drain()
    await intercom.close()
    with pytest.raises(ConfigurationError, match="not opened"):
        await intercom.start()


async def test_an_error_of_the_app_comes_out_as_it_is() -> None:
    intercom = Intercom(SECRET)
    with pytest.raises(ZeroDivisionError):
        async with intercom.lifespan(Starlette()):
            raise ZeroDivisionError
    async with intercom.lifespan(Starlette()):
        pass


async def test_a_cancelled_app_is_drained() -> None:
    inbox = FaultyInbox(MemoryInbox())
    with anyio.CancelScope() as scope:
        async with Intercom(SECRET, inbox=inbox).lifespan(Starlette()):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert inbox.calls[-1] == "close"


async def test_it_stops_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intake, then handlers, then events, then the inbox; each while what it needs is still there."""
    journal: list[str] = []
    inbox = FaultyInbox(MemoryInbox())
    intercom = Intercom(SECRET, inbox=inbox, access_token="token", drain_timeout=5)
    begun = anyio.Event()

    async def flush(timeout: float) -> None:
        assert 0 < timeout <= 5
        journal.append("events")

    @intercom.on(TOPIC)
    async def handler(notification: Notification) -> None:
        begun.set()
        while (await deliver(intercom)).status_code != 503:
            await anyio.sleep(0.001)
        journal.append("handler")

    monkeypatch.setattr(intercom.events, "flush", flush)
    async with intercom.lifespan(Starlette()):
        await deliver(intercom)
        await begun.wait()
        await intercom.drain()
        assert journal == ["handler", "events"]
        assert "close" not in inbox.calls
    assert journal == ["handler", "events"]
    assert inbox.calls[-1] == "close"


class BrokenRunner(Runner):
    async def start(self, processor: Processor, task_group: object) -> None:
        raise ConfigurationError("the broker is away")

    async def drain(self, timeout: float) -> None: ...

    @property
    def alive(self) -> bool:
        return False


async def test_what_was_begun_is_undone_where_the_start_fails() -> None:
    inbox = FaultyInbox(MemoryInbox())
    with pytest.raises(ConfigurationError, match="broker"):
        async with Intercom(SECRET, inbox=inbox, runner=BrokenRunner()).lifespan(Starlette()):
            pass
    assert inbox.calls == ["open", "close"]
    inbox.will("open", "unavailable")
    intercom = Intercom(SECRET, inbox=inbox)
    with pytest.raises(InboxUnavailable):
        async with intercom.lifespan(Starlette()):
            pass
    async with intercom.lifespan(Starlette()):
        pass


async def test_unhandled_topics_are_logged_once_and_hooks_hear_of_each(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starlette_intercom.intercom._MAX_UNHANDLED_TOPICS", 2)
    intercom = Intercom(SECRET, inbox=FaultyInbox(MemoryInbox()))
    heard: list[str] = []

    @intercom.on_unhandled
    async def hook(notification: Notification, itself: Intercom) -> None:
        assert itself is intercom
        heard.append(notification.topic)
        raise ValueError

    topics = [TOPIC, "ping", "contact.created", "contact.deleted", TOPIC]
    async with intercom.lifespan(Starlette()):
        for topic in topics:
            assert (await deliver(intercom, topic)).json() == {"received": True}
    assert heard == [TOPIC, "contact.created", "contact.deleted", TOPIC]
    stubs = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(stubs) == 2
    assert f"@intercom.on('{TOPIC}')\nasync def conversation_user_created(" in stubs[0]
    assert (await intercom.stats()).done == 0


async def test_it_tidies_up_whatever_the_inbox_does(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starlette_intercom.intercom._TIDY_INTERVAL", 0.001)
    inbox = FaultyInbox(MemoryInbox())
    inbox.will("tidy", "bug", times=2)
    async with Intercom(SECRET, inbox=inbox).lifespan(Starlette()):
        await until(lambda: inbox.calls.count("tidy") > 3)
    assert caplog.text.count("cannot be reached") == 2


async def test_dead_letters_are_erased_when_they_are_old(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starlette_intercom.intercom._TIDY_INTERVAL", 0.001)
    clock = Clock()
    intercom = Intercom(SECRET, inbox=MemoryInbox(clock=clock), dead_letter_retention=3600)

    @intercom.on(TOPIC, retries=0)
    async def fail(notification: Notification) -> None:
        raise ZeroDivisionError

    async with intercom.lifespan(Starlette()):
        await deliver(intercom)
        while not (await intercom.stats()).dead:
            await anyio.sleep(0.001)
        await anyio.sleep(0.01)
        assert (await intercom.stats()).dead == 1
        clock.advance(3600)
        with anyio.fail_after(5):
            while (await intercom.stats()).dead:
                await anyio.sleep(0.001)
    assert "1 dead letters were older than dead_letter_retention" in caplog.text


async def test_what_is_about_a_contact_is_forgotten_on_request() -> None:
    intercom = Intercom(SECRET)
    runs: list[str] = []
    started = anyio.Event()

    @intercom.on(TOPIC)
    async def linger(notification: Notification, delivery: Delivery) -> None:
        runs.append(delivery.id)
        started.set()
        await anyio.sleep(0.1)

    async with intercom.lifespan(Starlette()):
        about_them: dict[str, Any] = {"id": "notif_1", "item.contacts": {"contacts": [{"id": "6123"}]}}
        await deliver(intercom, **about_them)
        await started.wait()
        assert await intercom.forget("612") == 0
        assert await intercom.forget("6123") == 1
        assert (await deliver(intercom, **about_them)).json() == {"received": True, "duplicate": True}
        with pytest.raises(ConfigurationError, match="needs the id"):
            await intercom.forget("")
    assert len(runs) == 1


async def test_a_users_own_key_and_group() -> None:
    intercom = Intercom(SECRET, dedupe_key=lambda one: one.item["id"], serialize_by=lambda one: one.item["id"])
    intercom.on(TOPIC, handler=lambda notification: None)
    async with intercom.lifespan(Starlette()):
        assert (await deliver(intercom, **{"item.id": "5"})).json() == {"received": True}
        assert (await deliver(intercom, **{"item.id": "5"})).json() == {"received": True, "duplicate": True}
        assert (await deliver(intercom, **{"item.id": "6"})).json() == {"received": True}


async def test_a_request_knows_its_intercom() -> None:
    intercom = Intercom(SECRET, runner=TaskGroupRunner(1))
    app = Starlette()
    with pytest.raises(ConfigurationError, match="no Intercom"):
        get_intercom(HTTPConnection({"type": "http", "app": app}))
    with pytest.raises(ConfigurationError, match="no Intercom"):
        get_intercom(HTTPConnection({"type": "websocket"}))
    async with intercom.lifespan(app) as state:
        assert get_intercom(HTTPConnection({"type": "http", "app": app})) is intercom
        assert get_intercom(HTTPConnection({"type": "websocket", "state": state})) is intercom
