"""How a command ends: the exit codes, and the one line of an error."""

from __future__ import annotations

from typing import Final

from ..errors import ConfigurationError, InboxUnavailable, IntercomError, IntercomUnavailable

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130
CLOSED_PIPE: Final = 141

EXIT_CODES: Final = (
    "Exit codes: 0 all well; 1 something was checked or tried and is not as it should be; 2 wrong options, file or "
    "settings; 3 the server, the inbox or Intercom cannot be reached; 130 interrupted; 141 the reader of the output "
    "went away."
)


class CommandError(Exception):
    """Ends a command with one line.

    Args:
        message: what is wrong and what to do, in one or two sentences.
        code: the exit code.
    """

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


def command_error_of(error: BaseException) -> CommandError | None:
    """Return what to tell about an error, or None where it is a defect, of which the traceback tells more."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:  # out of a task group
        error = error.exceptions[0]
    if isinstance(error, CommandError):
        return error
    if isinstance(error, InboxUnavailable):
        return CommandError(f"The inbox cannot be reached: {error}", UNREACHABLE)
    if isinstance(error, IntercomUnavailable):
        return CommandError(str(error), UNREACHABLE)
    if isinstance(error, ConfigurationError):
        return CommandError(str(error), USAGE)
    if isinstance(error, IntercomError):
        return CommandError(str(error), FAILED)
    return None
