"""``dead list|show|replay|purge|export``: what failed for good, and another chance for it."""

from __future__ import annotations

import sys
from typing import Annotated, Final, TypeAlias

import anyio
import msgspec
import typer

from ..inbox.contract import DeadLetter
from .dead_letters import as_fields, duration, every, lines_of
from .exits import FAILED, OK, CommandError
from .files import unusable
from .inboxes import InboxOption, opened
from .output import note, say, say_json, say_table, time_of

dead = typer.Typer(help="List, show, replay, purge and export dead letters.", pretty_exceptions_enable=False)

_Topic: TypeAlias = Annotated[str | None, typer.Option(help="Only of this topic.")]
_Handler: TypeAlias = Annotated[str | None, typer.Option(help="Only those in which this handler failed.")]
_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON for scripts, without the payload.")]
_Ids: TypeAlias = Annotated[list[str] | None, typer.Argument(help="Ids, as dead list shows them.")]
_All: TypeAlias = Annotated[bool, typer.Option("--all", help="All of them, or all that fit --topic and --handler.")]
_EVERYTHING: Final = 1_000_000


@dead.command("list")
def list_letters(
    inbox: InboxOption = None,
    topic: _Topic = None,
    handler: _Handler = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    json: _Json = False,
) -> int:
    """List dead letters, the latest first."""

    async def read() -> None:
        async with opened(inbox) as box:
            letters = await box.list_dead(topic=topic, handler=handler, limit=limit)
        if json:
            say_json([as_fields(letter) for letter in letters])
            return
        rows = [
            (letter.id, letter.topic, time_of(letter.died_at), ", ".join(letter.handlers), _why(letter))
            for letter in letters
        ]
        say_table(("id", "topic", "died", "handler", "error"), rows)
        if not letters:
            note("There are no dead letters." if topic is handler is None else "No dead letter fits.")

    anyio.run(read)
    return OK


@dead.command()
def show(
    id: Annotated[str, typer.Argument(help="As dead list shows it.")],
    inbox: InboxOption = None,
    payload: Annotated[bool, typer.Option("--payload", help="Also what Intercom sent: personal data.")] = False,
    json: _Json = False,
) -> int:
    """Show one dead letter with all its failures."""

    async def read() -> DeadLetter | None:
        async with opened(inbox) as box:
            return await box.get_dead(id)

    letter = anyio.run(read)
    if letter is None:
        raise CommandError("There is no dead letter under this id. Those there are: dead list", FAILED)
    if json:
        say_json(as_fields(letter, payload=payload))
    else:
        say("\n".join(lines_of(letter, payload=payload)))
    return OK


@dead.command()
def replay(
    ids: _Ids = None, inbox: InboxOption = None, all: _All = False, topic: _Topic = None, handler: _Handler = None
) -> int:
    """Run dead letters again: with fresh attempts, and only the handlers that have not succeeded."""
    _check_choice(ids, all, filtered=(topic, handler) != (None, None))

    async def move() -> tuple[int, int]:
        async with opened(inbox) as box:
            if all:
                count = await box.replay(topic=topic, handler=handler)
                return count, count
            return sum([await box.replay(id=letter) for letter in ids or []]), len(ids or [])

    return _tell("replayed", *anyio.run(move))


@dead.command()
def purge(
    ids: _Ids = None,
    inbox: InboxOption = None,
    all: _All = False,
    topic: _Topic = None,
    handler: _Handler = None,
    older_than: Annotated[
        str | None, typer.Option(help="With --all: only those that died so long ago: 90s, 30m, 12h, 7d.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Forget dead letters for good, their payloads too."""
    _check_choice(ids, all, filtered=(topic, handler, older_than) != (None, None, None))
    age = None if older_than is None else duration(older_than)
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError("Purged letters cannot be brought back: confirm with --yes.")
        typer.confirm("Purged letters cannot be brought back. Go on?", abort=True, err=True)

    async def forget() -> tuple[int, int]:
        async with opened(inbox) as box:
            if all:
                count = await box.purge(topic=topic, handler=handler, older_than=age)
                return count, count
            return sum([await box.purge(id=letter) for letter in ids or []]), len(ids or [])

    return _tell("purged", *anyio.run(forget))


@dead.command()
def export(
    file: Annotated[str, typer.Argument(help="Where to; - is standard output.")] = "-",
    inbox: InboxOption = None,
    topic: _Topic = None,
    handler: _Handler = None,
) -> int:
    """Write dead letters with their payloads, one JSON object a line; they stay where they are."""

    async def read() -> list[DeadLetter]:
        async with opened(inbox) as box:
            return list(await box.list_dead(topic=topic, handler=handler, limit=_EVERYTHING))

    lines = [msgspec.json.encode(as_fields(letter, payload=True)).decode() for letter in anyio.run(read)]
    if file == "-":
        for line in lines:
            say(line)
        return OK
    try:
        with open(file, "x", encoding="utf-8") as target:
            target.writelines(f"{line}\n" for line in lines)
    except FileExistsError:
        raise CommandError(f"{file} exists already: name another file.") from None
    except OSError as error:
        raise unusable(file, error) from None
    note(f"{every(len(lines))} exported.")
    return OK


def _check_choice(ids: list[str] | None, all: bool, *, filtered: bool) -> None:
    if bool(ids) == all:
        raise CommandError("Give either ids, or --all.")
    if ids and filtered:
        raise CommandError("--topic, --handler and --older-than go with --all, not with ids.")


def _tell(done: str, count: int, wanted: int) -> int:
    say(f"{every(count)} {done}.")
    if count == wanted:
        return OK
    note("The others are no dead letters (any more).")
    return FAILED


def _why(letter: DeadLetter) -> str:
    return f"{letter.error.error}: {letter.error.message}" if letter.error is not None else ""
