"""``track FILE``: sends the events of a file, and can be interrupted and resumed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import IO, Annotated, Final

import anyio
import typer

from ..errors import IntercomUnavailable, RateLimited
from ..events import Event, EventsClient
from ..events.http import Region
from .checkpoint import Checkpoint
from .credentials import access_token
from .event_lines import Format, Line, read_lines
from .exits import FAILED, INTERRUPTED, OK, CommandError
from .files import unusable
from .output import note, progress, say, say_json

_PATIENCE: Final = 60.0  # seconds for one event, before the run stops since Intercom is away
_KINDS: Final = {".csv": Format.CSV, ".ndjson": Format.NDJSON, ".jsonl": Format.NDJSON}


def track(
    file: Annotated[str, typer.Argument(help="CSV or NDJSON; - reads standard input, which cannot be resumed.")],
    format: Annotated[Format | None, typer.Option(help="Of the file, where its name does not tell.")] = None,
    failures: Annotated[
        Path | None, typer.Option(help="Where failures go, to be fed in again; FILE.failed.ndjson where not given.")
    ] = None,
    region: Annotated[str, typer.Option(help="Where the workspace is: us, eu or au.")] = "us",
    base_url: Annotated[str | None, typer.Option(help="An address to use instead of Intercom's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="A JSON object instead of a sentence at the end.")] = False,
) -> int:
    """Send the events of a file to Intercom, as fast as it allows; exit code 0 only if it has taken all of them.

    Run it again after a break and it goes on where it was. The access token comes from INTERCOM_ACCESS_TOKEN. A CSV
    names its columns in the first line: event_name; user_id, id or email; created_at; and metadata.anything.
    """
    kind = format or _KINDS.get(Path(file).suffix.lower())
    if kind is None:
        raise CommandError(f"Say what {file} is: --format csv or --format ndjson.")
    source = None if file == "-" else Path(file)
    total = None if source is None else _count_lines(source, kind)
    client = EventsClient(access_token=access_token(), region=_region(region), base_url=base_url)
    kept = failures or Path("events.failed.ndjson" if source is None else f"{file}.failed.ndjson")
    checkpoint = Checkpoint(source, kept)
    if checkpoint.done:
        note(f"Going on after {checkpoint.done} lines that are through.")
    run = _Run(client, checkpoint, total)
    try:
        with _text_of(source) as text:
            lines = read_lines(text, kind, started_at=checkpoint.started_at)
            ended = anyio.run(run.send, lines)
    except BaseException:
        checkpoint.close(keep=run.began)
        if checkpoint.done and source:
            note(f"{checkpoint.done} lines are through. Run the same command again to go on.")
        raise
    checkpoint.close(keep=not ended)
    if json:
        say_json({"succeeded": checkpoint.done - checkpoint.failed, "failed": checkpoint.failed, "complete": ended})
    else:
        say(f"{checkpoint.done - checkpoint.failed} events sent, {checkpoint.failed} failed.")
    if not ended:
        note("Interrupted. Run the same command again to go on." if source else "Interrupted.")
        return INTERRUPTED
    if checkpoint.failed:
        note(f"What failed is in {kept}, with the reasons. Once they are dealt with, track that file.")
    return FAILED if checkpoint.failed else OK


class _Run:
    """One run over the lines that are left."""

    def __init__(self, client: EventsClient, checkpoint: Checkpoint, total: int | None) -> None:
        self._client = client
        self._checkpoint = checkpoint
        self._total = total
        self._under_way: dict[int, Line] = {}
        self.began = checkpoint.resumed  # something may have reached Intercom
        self._done = checkpoint.done
        self._failed = checkpoint.failed

    async def send(self, lines: Iterator[Line]) -> bool:
        """Send all; return False where a signal ended it early."""
        ended = False
        with anyio.CancelScope() as scope:
            async with self._client, anyio.create_task_group() as group:
                group.start_soon(_stop_on_signal, scope)
                with progress("{task.fields[failed]} failed") as bar:
                    task = bar.add_task("Tracking", total=self._total, completed=self._done, failed=self._failed)
                    stream = self._client.stream(self._events(lines), deadline=_PATIENCE)
                    async with aclosing(stream):
                        async for outcome in stream:
                            line = self._under_way.pop(id(outcome.event))
                            if isinstance(outcome.error, IntercomUnavailable | RateLimited):
                                raise outcome.error  # no fault of the event: it is sent when the run goes on
                            self._add(line, None if outcome.error is None else str(outcome.error))
                            bar.update(task, completed=self._done, failed=self._failed)
                ended = True
                group.cancel_scope.cancel()
        return ended

    def _events(self, lines: Iterator[Line]) -> Iterator[Event]:
        """Give the client what is left, and note at once what cannot be sent."""
        for line in lines:
            if line.number <= self._checkpoint.done:
                continue
            if isinstance(line.event, str):
                self._add(line, line.event)
                continue
            self.began = True
            self._under_way[id(line.event)] = line  # which keeps the event, and so its id, alive
            yield line.event

    def _add(self, line: Line, error: str | None) -> None:
        self._checkpoint.add(line, error)
        self._done += 1
        self._failed += error is not None


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _text_of(source: Path | None) -> IO[str] | nullcontext[IO[str]]:
    if source is None:
        return nullcontext(sys.stdin)
    try:
        return source.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise unusable(str(source), error) from None


def _count_lines(source: Path, kind: Format) -> int:
    """Count the lines with something in them, for the progress bar."""
    try:
        with _text_of(source) as text:
            return max(0, sum(1 for line in text if line.strip()) - (kind is Format.CSV))
    except UnicodeDecodeError:
        raise CommandError(f"{source} is not UTF-8: convert it first.") from None


def _region(region: str) -> Region:
    match region:
        case "us" | "eu" | "au":
            return region
    raise CommandError(f"--region {region!r} is unknown: use us, eu or au.")
