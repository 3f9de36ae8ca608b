"""With and without a terminal: closed pipes, colours, prompts that echo nothing."""

from __future__ import annotations

import os
import select
import subprocess
import termios
import time

import pytest

from tests.cli.conftest import COMMAND, DEADLINE, ROOT

ESCAPE = "\x1b["


def at_terminal(*arguments: str, answer: str = "", **environ: str) -> tuple[int, str]:
    """Run a command at a terminal of its own; return its exit code, and all that the terminal shows."""
    main, side = os.openpty()
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", **environ}
    variables.pop("INTERCOM_CLIENT_SECRET", None)
    if "NO_COLOR" not in environ:
        variables.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=side, stdout=side, stderr=side, env=variables, cwd=ROOT, start_new_session=True
    )
    os.close(side)
    shown = b""
    give_up = time.monotonic() + DEADLINE
    while time.monotonic() < give_up:
        if answer and not termios.tcgetattr(main)[3] & termios.ECHO:  # it has asked
            os.write(main, f"{answer}\n".encode())
            answer = ""
        if not select.select([main], [], [], 0.02)[0]:
            continue
        try:
            read = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        shown += read
    os.close(main)
    return process.wait(DEADLINE), shown.decode()


def test_a_closed_pipe_ends_it_quietly() -> None:
    process = subprocess.Popen(
        [*COMMAND, "topics"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # before it has written anything
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(DEADLINE) == 141


def test_a_terminal_gets_colours_and_headings() -> None:
    code, shown = at_terminal("topics", "contact.merged")
    assert code == 0
    assert ESCAPE in shown
    assert "data.item" in shown


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_they_are_not_wanted(environ: dict[str, str]) -> None:
    code, shown = at_terminal("nonsense", **environ)
    assert code == 2
    assert "\x1b[3" not in shown
    assert "No such command" in shown


def test_without_a_terminal_there_are_plain_lines() -> None:
    done = subprocess.run(
        [*COMMAND, "topics", "contact.merged"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "20"},
    )
    assert ESCAPE not in done.stdout
    (line,) = done.stdout.splitlines()
    assert line.startswith("contact.merged\t")
    assert line.endswith("the one that went")


def test_a_prompt_does_not_echo_the_secret() -> None:
    code, shown = at_terminal("sign", "pyproject.toml", answer="hush-hush")
    assert code == 0
    assert "sha1=" in shown
    assert "hush-hush" not in shown
