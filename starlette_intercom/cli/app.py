"""The commands, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from ..version import __version__
from .dead import dead
from .demo import demo
from .doctor import doctor
from .exits import EXIT_CODES, INTERRUPTED, OK, USAGE, command_error_of
from .inbox import inbox
from .listen import listen
from .output import note, printable, say
from .send import send
from .signatures import sign, verify
from .topics import topics
from .track import track
from .worker import worker

NAME: Final = "starlette-intercom"

# Neither tracebacks with local variables nor boxes around errors: locals hold secrets, and scripts read lines.
app = typer.Typer(
    name=NAME,
    help="Receive Intercom webhooks and send Intercom data events.",
    epilog=EXIT_CODES,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, topics, send, listen, sign, verify, worker, track, doctor):
    app.command()(command)
app.add_typer(inbox, name="inbox")
app.add_typer(dead, name="dead")


def _print_version(asked: bool) -> None:
    if asked:
        say(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Receive Intercom webhooks and send Intercom data events."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: those of the command line; ``sys.argv`` where not given.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = typer.main.get_command(app).main(given or ["--help"], prog_name=NAME, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        told = command_error_of(error)
        if told is not None:
            note(f"{NAME}: {printable(told)}", "red")
            return told.code
        usage = getattr(error, "format_message", None)  # of Click's errors, by whatever name Typer has Click
        if usage is None:
            raise
        place = getattr(getattr(error, "ctx", None), "command_path", NAME)
        note(f"{NAME}: {printable(' '.join(usage().split()))} See: {place} --help", "red")
        return USAGE
    return result if isinstance(result, int) else OK
