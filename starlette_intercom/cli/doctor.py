"""``doctor``: finds out what is wrong with a set-up, before Intercom does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, Final, Literal, NamedTuple

import anyio
import typer
from anyio.abc import TaskGroup
from starlette.types import ASGIApp

from ..errors import ConfigurationError, ContactNotFound
from ..handling.processor import Processor
from ..handling.runner import Runner
from ..intercom import Intercom
from ..topics import matches
from .exits import FAILED, OK, CommandError, command_error_of
from .output import note, printable, say, say_json
from .targets import TargetArgument, load, started

Verdict = Literal["ok", "warning", "failed", "skipped"]

_PATIENCE: Final = 15.0  # seconds for one check
_STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}
# A contact that cannot be meant: being told that it does not exist takes a token that is accepted.
_NOBODY: Final = "starlette-intercom-doctor"


class Check(NamedTuple):
    """What one check found."""

    name: str
    verdict: Verdict
    message: str


def doctor(
    target: TargetArgument,
    app: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="Your app, to see whether its lifespan starts the Intercom."),
    ] = None,
    subscribed: Annotated[
        str | None, typer.Option(help="Topics that your app is subscribed to at Intercom, separated by commas.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A JSON array instead of words.")] = False,
) -> int:
    """Check settings, inbox, access token and the app's lifespan; exit code 0 only if nothing failed.

    The lifespan of your app is run once, but no delivery is processed.
    """
    intercom = load(target)
    if not isinstance(intercom, Intercom):
        raise CommandError(f"{target} is no Intercom. Name that, and your app with --app {target}")
    checks = anyio.run(_examine, intercom, None if app is None else load(app), subscribed)
    if json:
        say_json([check._asdict() for check in checks])
    else:
        for check in checks:
            say(f"{check.verdict:<8} {check.name:<10} {printable(check.message)}", _STYLES[check.verdict])
    failed = sum(check.verdict == "failed" for check in checks)
    if failed:
        note(f"{failed} of {len(checks)} checks failed.")
    return FAILED if failed else OK


class _IdleRunner(Runner):
    """Processes nothing, so that looking at a set-up runs no handler."""

    async def start(self, processor: Processor, task_group: TaskGroup) -> None:
        """Begin."""

    async def drain(self, timeout: float) -> None:
        """Finish."""

    @property
    def alive(self) -> bool:
        """It is working."""
        return True


async def _examine(intercom: Intercom, app: Intercom | ASGIApp | None, subscribed: str | None) -> Sequence[Check]:
    intercom.runner = _IdleRunner()
    checks = [*_settings(intercom), *_topics(intercom, subscribed)]
    try:
        with anyio.fail_after(_PATIENCE):
            async with started(intercom if app is None else app) as running:
                if running is not intercom:
                    return [*checks, Check("lifespan", "failed", "The app starts another Intercom than this one.")]
                checks.append(_wiring(has_app=app is not None))
                checks.append(await _checked("inbox", lambda: _inbox(intercom)))
                checks.append(await _checked("token", lambda: _token(intercom)))
    except Exception as error:
        checks.append(Check("lifespan", "failed", _reason(error)))
    return checks


def _wiring(*, has_app: bool) -> Check:
    if has_app:
        return Check("lifespan", "ok", "The app's lifespan starts it.")
    return Check("lifespan", "skipped", "It starts by itself; name your app with --app to see whether that starts it.")


def _settings(intercom: Intercom) -> list[Check]:
    checks = [Check("secret", "ok", "There is a client secret.")]
    if not intercom.inbox.durable:
        checks.append(Check("inbox", "warning", "In memory: a crash loses what was answered with 200. Use sqlite:///…"))
    return checks


def _topics(intercom: Intercom, subscribed: str | None) -> list[Check]:
    handlers = intercom.handlers
    if not handlers:
        return [Check("handlers", "failed", "No handler is registered: @intercom.on('conversation.user.created')")]
    checks = [Check("handlers", "ok", f"{len(handlers)} registered.")]
    if subscribed is None:
        checks.append(Check("topics", "skipped", "Give those of the Developer Hub with --subscribed to compare."))
        return checks
    topics = [topic.strip() for topic in subscribed.split(",") if topic.strip()]
    unhandled = [topic for topic in topics if topic != "ping" and not intercom.handles(topic)]
    patterns = sorted({pattern for handler in handlers for pattern in handler.patterns})
    unsent = [pattern for pattern in patterns if not any(matches(pattern, topic) for topic in ("ping", *topics))]
    if unhandled:
        checks.append(Check("topics", "failed", f"Subscribed, but without a handler: {', '.join(unhandled)}"))
    if unsent:
        checks.append(Check("topics", "failed", f"Handled, but not subscribed to: {', '.join(unsent)}"))
    if not (unhandled or unsent):
        checks.append(Check("topics", "ok", "Subscriptions and handlers agree."))
    return checks


async def _inbox(intercom: Intercom) -> Check:
    stats = await intercom.stats()
    verdict: Verdict = "warning" if stats.dead else "ok"
    return Check("inbox", verdict, f"Opens. {stats.waiting} waiting, {stats.scheduled} scheduled, {stats.dead} dead.")


async def _token(intercom: Intercom) -> Check:
    try:
        events = intercom.events
    except ConfigurationError:
        return Check("token", "skipped", "There is no access token, so no events can be sent.")
    with suppress(ContactNotFound):  # the very answer that shows that the token is accepted
        await events.summaries(user_id=_NOBODY)
    return Check("token", "ok", "Intercom accepts the access token.")


async def _checked(name: str, check: Callable[[], Awaitable[Check]]) -> Check:
    try:
        return await check()
    except Exception as error:
        return Check(name, "failed", _reason(error))


def _reason(error: Exception) -> str:
    told = command_error_of(error)
    return str(told) if told is not None else f"{type(error).__name__}: {error}"
