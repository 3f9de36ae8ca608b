"""``send``: signed notifications over HTTP, one or a load of them."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
import httpx
import msgspec
import typer

from ..testing.samples import sample
from .credentials import SecretOption, client_secrets
from .exits import FAILED, OK, UNREACHABLE, CommandError
from .load import Answered, Load, Summary
from .output import printable, progress, say, say_json, say_table
from .topics import complete_topic


def send(
    topic: Annotated[str, typer.Argument(autocompletion=complete_topic, help="A known topic, or any with --set item.")],
    to: Annotated[str, typer.Option(help="URL of the webhook endpoint.")],
    secret: SecretOption = None,
    set: Annotated[
        list[str] | None,
        typer.Option(help="A value to put in place of the sample's, such as item.id=5; JSON, or else text."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="So many, each with an id of its own.")] = 1,
    duplicate: Annotated[bool, typer.Option("--duplicate", help="Send each twice.")] = False,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="So many a second; as fast as it goes if left out.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=100, help="Requests under way at once.")] = 10,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer; Intercom waits 5.")] = 5.0,
    json: Annotated[bool, typer.Option("--json", help="A JSON object instead of words.")] = False,
) -> int:
    """Send samples of a topic, signed as Intercom does; exit code 0 only if every answer was 200."""
    host = _host_of(to)
    overrides = dict(_override(text) for text in set or [])
    sample(topic, **overrides)  # a mistake shows before anything is sent
    load = Load(
        to,
        client_secrets(secret)[0],
        lambda: sample(topic, **overrides),
        count=count,
        copies=2 if duplicate else 1,
        rate=rate,
        concurrency=concurrency,
        timeout=timeout,
    )
    with progress() as bar:
        task = bar.add_task("Sending", total=load.total, visible=load.total > 1)
        summary = anyio.run(load.run, lambda done: bar.update(task, completed=done))
    if json:
        say_json(summary)
    elif load.total == 1:
        _tell_one(load.last)
    else:
        _tell_many(summary)
    if not summary.answered:
        raise CommandError(f"Nothing answered at {host}: is the server running?", UNREACHABLE)
    return OK if summary.statuses == {"200": summary.sent} else FAILED


def _host_of(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise CommandError("--to takes a URL, such as http://127.0.0.1:8000/webhooks/intercom")
    return parsed.netloc.decode()


def _override(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise CommandError(f"--set {text!r} must be a path and a value, such as item.id=5")
    try:
        return path, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return path, value


def _tell_one(answered: Answered | None) -> None:
    if answered is not None:
        style = "green" if answered.status == 200 else "red"
        say(f"{answered.status} {printable(answered.text)} in {answered.milliseconds:.1f} ms", style)


def _tell_many(summary: Summary) -> None:
    slow = f"{summary.over_500_ms} took longer" if summary.over_500_ms else "all of them"
    rows: list[tuple[str, str]] = [
        ("sent", f"{summary.sent} in {summary.seconds:.2f} s, {summary.per_second:.0f} a second"),
        *((f"answered {status}", str(number)) for status, number in summary.statuses.items()),
        ("duplicates", f"{summary.duplicates} were recognised"),
        ("answer time", f"half within {summary.p50_ms:.1f} ms, 99 % within {summary.p99_ms:.1f} ms"),
        ("slowest", f"{summary.max_ms:.1f} ms"),
        ("within 500 ms", f"{slow}; Intercom gives priority to endpoints that are"),
    ]
    say_table(("", ""), rows)
