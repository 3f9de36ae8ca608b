"""How far a file was sent, kept beside it, so that a run that was killed can be resumed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import IO, Final

import msgspec

from .event_lines import Line
from .exits import CommandError
from .files import unusable

_SAVE_EVERY: Final = 0.5  # seconds


class _State(msgspec.Struct):
    """What the file of progress says.

    Attributes:
        digest: of the content of the file that is sent.
        failures: where failures are written.
        started_at: Unix seconds of the first start: ``created_at`` of lines that name no time.
        done: so many lines from the beginning are through.
        failed: so many of them are in the file of failures.
        failures_size: bytes of the file of failures that belong to these lines.
    """

    digest: str
    failures: str
    started_at: int
    done: int = 0
    failed: int = 0
    failures_size: int = 0


class Checkpoint:
    """Keeps what is through, in order, and the failures.

    Lines finish in any order, but count as done only when all before them are: a run that is killed sends the few that
    were under way again, with the same ``created_at``, and Intercom drops what it has already. Failures are written
    when their line counts as done, so a resumed run has each of them once.

    Args:
        source: the file that is sent; None where it cannot be read twice, so that nothing is kept but failures.
        failures: where failures are written; must not exist unless a run is resumed.

    Raises:
        CommandError: the source was changed since a part of it was sent, or a file cannot be used.
    """

    def __init__(self, source: Path | None, failures: Path) -> None:
        self._place = None if source is None else source.with_name(f"{source.name}.progress")
        self._failures = failures
        self._failures_file: IO[bytes] | None = None
        self._finished: dict[int, bytes | None] = {}
        self._saved_at = 0.0
        digest = "" if source is None else _digest(source)
        self._state = _State(digest, str(failures.absolute()), int(time.time()))
        self.resumed = self._place is not None and self._place.exists()
        if self._place is not None and self.resumed:
            self._state = _read(self._place, self._state)
            self._drop_unsaved_failures()
        elif failures.exists():
            raise CommandError(f"{failures.name} exists already: feed it in, move it, or name another with --failures.")
        self.save()

    def _drop_unsaved_failures(self) -> None:
        """What a killed run wrote after it had last saved is tried again."""
        size = self._failures.stat().st_size if self._failures.exists() else 0
        if size > self._state.failures_size:
            os.truncate(self._failures, self._state.failures_size)
        self._state.failures_size = min(size, self._state.failures_size)

    @property
    def started_at(self) -> int:
        """Unix seconds of the first start."""
        return self._state.started_at

    @property
    def done(self) -> int:
        """So many lines from the beginning are through."""
        return self._state.done

    @property
    def failed(self) -> int:
        """So many of them failed."""
        return self._state.failed

    def add(self, line: Line, error: str | None) -> None:
        """Take in what became of a line.

        Args:
            line: the line.
            error: why it did not reach Intercom; None if it did.
        """
        self._finished[line.number] = None if error is None else _failure(line, error)
        state = self._state
        while state.done + 1 in self._finished:
            state.done += 1
            failure = self._finished.pop(state.done)
            if failure is not None:
                state.failed += 1
                self._write_failure(failure)
        if time.monotonic() - self._saved_at > _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write down how far it has come; in one step, so that a kill leaves the old state or the new one."""
        self._saved_at = time.monotonic()
        if self._failures_file is not None:
            self._failures_file.flush()
        if self._place is None:
            return
        new = self._place.with_name(f"{self._place.name}.new")
        try:
            new.write_bytes(msgspec.json.encode(self._state))
            os.replace(new, self._place)
        except OSError as error:
            raise unusable(str(self._place), error) from None

    def close(self, *, keep: bool) -> None:
        """Finish, and keep or forget how far it has come."""
        self.save()
        if self._failures_file is not None:
            self._failures_file.close()
        if self._place is not None and not keep:
            self._place.unlink(missing_ok=True)

    def _write_failure(self, failure: bytes) -> None:
        if self._failures_file is None:
            try:
                # Failures hold personal data: only their owner may read them.
                number = os.open(self._failures, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            except OSError as error:
                raise unusable(str(self._failures), error) from None
            self._failures_file = os.fdopen(number, "ab")
        self._failures_file.write(failure)
        self._state.failures_size += len(failure)


def _failure(line: Line, error: str) -> bytes:
    """Write a line that can be fed in again: what it said, the time that was tried, and why it failed."""
    fields = {key: value for key, value in line.fields.items() if key not in ("line", "error")}
    if not isinstance(line.event, str):
        fields.setdefault("created_at", line.event.created_at)
    return msgspec.json.encode({**fields, "line": line.number, "error": error}) + b"\n"


def _digest(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unusable(str(source), error) from None


def _read(place: Path, now: _State) -> _State:
    """Read how far a run has come, which must be a run of the same file, with its failures in the same place."""
    try:
        state = msgspec.json.decode(place.read_bytes(), type=_State)
    except (OSError, ValueError):
        raise CommandError(f"{place.name} cannot be read: delete it to start from the beginning.") from None
    if state.digest != now.digest:
        raise CommandError(
            f"The file was changed since {state.done} of its lines were sent. Restore it, or delete {place.name} to "
            "send all of it."
        )
    if state.failures != now.failures:
        raise CommandError(f"This was begun with --failures {state.failures}: go on with the same.")
    return state
