"""``inbox stats`` and the ``dead`` commands, on a SQLite file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Cli


def test_stats(cli: Cli, inbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = cli("inbox", "stats", inbox, "--json").json
    assert (stats["waiting"], stats["dead"], stats["running"]) == (1, 3, 0)
    monkeypatch.setenv("INTERCOM_INBOX", inbox)
    assert "dead\t3\t" in cli("inbox", "stats").out


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///gone.db", "no such SQLite file"),
        ("memory:", "in memory"),
        ("mongodb://user:pa55@host", "No inbox goes by the scheme 'mongodb'"),
        ("sqlite://", "sqlite:///relative.db"),
    ],
)
def test_an_inbox_that_cannot_be_looked_into(cli: Cli, tmp_path: Path, url: str, said: str) -> None:
    result = cli("inbox", "stats", url)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert said in result.err
    assert "pa55" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_no_inbox_is_named(cli: Cli) -> None:
    result = cli("dead", "list")
    assert result.code == 2
    assert "INTERCOM_INBOX" in result.err


def test_list_and_show(cli: Cli, inbox: str) -> None:
    listed = cli("dead", "list", "--inbox", inbox)
    assert [line.split("\t")[0] for line in listed.out.splitlines()] == ["key2", "key1", "key0"]
    assert "\x1b" not in listed.out
    letters = cli("dead", "list", "--inbox", inbox, "--topic", "contact.created", "--limit", "1", "--json").json
    assert [(letter["id"], letter["handlers"], letter["done"]) for letter in letters] == [
        ("key1", ["crm.sync"], ["mail"])
    ]
    assert "Ada" not in listed.out + str(letters)
    nothing = cli("dead", "list", "--inbox", inbox, "--handler", "other")
    assert (nothing.code, nothing.out) == (0, "")

    plain = cli("dead", "show", "key0", "--inbox", inbox).out
    assert "ValueError: no\\x1b[2J name" in plain
    assert "line 7" in plain
    assert "Ada" not in plain
    full = cli("dead", "show", "key0", "--inbox", inbox, "--payload").out
    assert "Ada" in full
    assert "\x1b" not in full
    assert cli("dead", "show", "key0", "--inbox", inbox, "--json").json["failures"][0]["handler"] == "crm.sync"
    assert cli("dead", "show", "gone", "--inbox", inbox).code == 1


def test_replay(cli: Cli, inbox: str) -> None:
    assert cli("dead", "replay", "key0", "--inbox", inbox).out == "1 dead letter replayed.\n"
    again = cli("dead", "replay", "key0", "--inbox", inbox)
    assert (again.code, again.out) == (1, "0 dead letters replayed.\n")
    assert cli("dead", "replay", "--all", "--topic", "conversation.deleted", "--inbox", inbox).out.startswith("1 ")
    stats = cli("inbox", "stats", inbox, "--json").json
    assert (stats["waiting"], stats["dead"]) == (3, 1)


def test_purge(cli: Cli, inbox: str) -> None:
    asked = cli("dead", "purge", "key0", "--inbox", inbox)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert cli("dead", "purge", "--all", "--older-than", "1h", "--yes", "--inbox", inbox).out.startswith("0 ")
    assert cli("dead", "purge", "key0", "--yes", "--inbox", inbox).out.startswith("1 ")
    assert cli("dead", "purge", "--all", "--older-than", "0s", "--yes", "--inbox", inbox).out.startswith("2 ")
    assert cli("inbox", "stats", inbox, "--json").json["dead"] == 0


@pytest.mark.parametrize(
    "arguments",
    ["replay", "replay key0 --all", "replay key0 --topic t", "purge --yes", "purge --all --yes --older-than soon"],
)
def test_an_unclear_choice_changes_nothing(cli: Cli, inbox: str, arguments: str) -> None:
    result = cli("dead", *arguments.split(), "--inbox", inbox)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert cli("inbox", "stats", inbox, "--json").json["dead"] == 3


def test_export(cli: Cli, inbox: str, tmp_path: Path) -> None:
    lines = [msgspec.json.decode(line) for line in cli("dead", "export", "--inbox", inbox).out.splitlines()]
    assert [line["notification"]["id"] for line in lines] == ["n2", "n1", "n0"]
    assert cli("dead", "export", "letters.ndjson", "--topic", "contact.created", "--inbox", inbox).code == 0
    assert (tmp_path / "letters.ndjson").read_text().count("\n") == 2
    again = cli("dead", "export", "letters.ndjson", "--inbox", inbox)
    assert (again.code, "exists already" in again.err) == (2, True)
    assert cli("dead", "export", "no/where", "--inbox", inbox).code == 2
    assert cli("inbox", "stats", inbox, "--json").json["dead"] == 3
