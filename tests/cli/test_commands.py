"""Every command's help and its mistakes; topics, signatures, secrets."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from starlette_intercom.known_topics import KNOWN_TOPICS
from tests.cli.conftest import COMMAND, ROOT, Cli

COMMANDS = [
    *["demo", "topics", "send", "listen", "sign", "verify", "worker", "track", "doctor", "inbox", "inbox stats"],
    *["dead", "dead list", "dead show", "dead replay", "dead purge", "dead export"],
]
SECRET = "not-to-be-seen"


@pytest.mark.parametrize("command", COMMANDS)
def test_help(cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERCOM_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("INTERCOM_ACCESS_TOKEN", SECRET)
    result = cli(*command.split(), "--help")
    assert (result.code, result.err) == (0, "")
    assert f"starlette-intercom {command}" in result.out
    assert SECRET not in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_option_is_one_line_that_names_the_help(cli: Cli, command: str) -> None:
    result = cli(*command.split(), "--colour")
    assert (result.code, result.out) == (2, "")
    assert re.fullmatch(rf"starlette-intercom: .*--colour.* See: starlette-intercom {command} --help\n", result.err)


def test_without_arguments_there_is_help_with_every_command_and_the_exit_codes(cli: Cli) -> None:
    result = cli()
    assert result.code == 0
    for command in COMMANDS:
        assert command.split()[0] in result.out
    assert "Exit codes" in result.out


def test_version(cli: Cli) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", cli("--version").out)


def test_an_unknown_command(cli: Cli) -> None:
    result = cli("topic")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "'topic'" in result.err


@pytest.mark.parametrize(
    "arguments",
    ["sign gone.json --secret s", "verify gone.json --signature x --secret s", "track gone.csv", "track ."],
)
def test_a_missing_file(cli: Cli, arguments: str) -> None:
    result = cli(*arguments.split(), *(["--format", "csv"] if arguments == "track ." else []))
    assert result.code == 2
    assert re.fullmatch(r"starlette-intercom: \S+: .*directory\.\n", result.err)


@pytest.mark.parametrize("missing", ["typer", "rich", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from starlette_intercom.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"starlette-intercom: .*{missing}.*pip install 'starlette-intercom\[cli\]'\n", done.stderr)


def test_the_script_is_the_entry_point() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["starlette-intercom"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_the_shell_is_given_completions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_STARLETTE_INTERCOM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "starlette-intercom send conversation.user.c")
    monkeypatch.setenv("COMP_CWORD", "2")
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.split() == ["conversation.user.created"]


def test_topics(cli: Cli) -> None:
    result = cli("topics")
    assert result.code == 0
    assert [line.split("\t")[0] for line in result.out.splitlines()] == list(KNOWN_TOPICS)
    assert {topic["name"] for topic in cli("topics", "contact.*", "--json").json} == {
        name for name in KNOWN_TOPICS if name.startswith("contact.")
    }
    assert "contact.merged" in cli("topics", "merged").out


def test_a_misspelt_topic(cli: Cli) -> None:
    result = cli("topics", "conversation.user.craeted")
    assert (result.code, result.out) == (1, "")
    assert "did you mean 'conversation.user.created'" in result.err
    assert cli("topics", "contact*").code == 2


@pytest.mark.parametrize(
    ("scheme", "header"),
    [("webhook", "X-Hub-Signature"), ("canvas-kit", "X-Body-Signature"), ("fin", "X-Fin-Agent-API-Webhook-Signature")],
)
def test_sign_and_verify(cli: Cli, tmp_path: Path, scheme: str, header: str) -> None:
    (tmp_path / "body").write_bytes(b'{"a": "\xff"}')
    options = ("--scheme", scheme, "--secret", SECRET)
    signed = cli("sign", "body", *options)
    assert signed.out.startswith(f"{header}: ")
    signature = cli("sign", "body", *options, "--json").json["signature"]
    assert signature in signed.out
    for given in (signature, signed.out.strip()):
        assert cli("verify", "body", "--signature", given, *options).code == 0
    wrong = cli("verify", "body", "--signature", signature, "--scheme", scheme, "--secret", "other")
    assert (wrong.code, "another secret" in wrong.out) == (1, True)
    (tmp_path / "body").write_bytes(b'{"a": "\xff"}\n')
    assert "line break" in cli("verify", "body", "--signature", signature, *options).out
    assert "hexadecimal" in cli("verify", "body", "--signature", "x", *options).out
    assert cli("verify", "body", "--signature", signature, *options, "--json").json == {
        "valid": False,
        "secret": None,
        "bytes": 11,
    }


def test_secrets_in_rotation_come_from_the_environment(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "body").write_bytes(b"{}")
    signature = cli("sign", "body", "--secret", SECRET, "--json").json["signature"]
    monkeypatch.setenv("INTERCOM_CLIENT_SECRET", f"new, {SECRET}")
    result = cli("verify", "body", "--signature", signature)
    assert (result.code, "secret 2" in result.out, SECRET in result.out) == (0, True, False)


def test_a_secret_that_nobody_gives(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"{}")
    result = cli("sign", "body")
    assert result.code == 2
    assert "INTERCOM_CLIENT_SECRET" in result.err
    assert "empty" in cli("sign", "body", "--secret", "").err
