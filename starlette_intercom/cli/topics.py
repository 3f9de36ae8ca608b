"""``topics``: what Intercom can send."""

from __future__ import annotations

from typing import Annotated

import typer

from ..known_topics import KNOWN_TOPICS
from ..topics import check_pattern, matches, suggest
from .exits import FAILED, OK
from .output import note, say_json, say_table


def topics(
    pattern: Annotated[str, typer.Argument(help="A topic, 'contact.*', or any part of a name.")] = "*",
    json: Annotated[bool, typer.Option("--json", help="A JSON array instead of a table.")] = False,
) -> int:
    """List the topics that Intercom is known to send; there may be newer ones."""
    check_pattern(pattern)
    found = [topic for name, topic in KNOWN_TOPICS.items() if matches(pattern, name)]
    if not found and "*" not in pattern:
        found = [topic for name, topic in KNOWN_TOPICS.items() if pattern in name]
    if json:
        say_json(found)
    else:
        rows = [(topic.name, topic.status, topic.since or "", topic.summary) for topic in found]
        say_table(("topic", "status", "since", "data.item"), rows)
    if found:
        return OK
    meant = suggest(pattern)
    note(f"No known topic matches {pattern!r}" + (f": did you mean {meant!r}?" if meant else "."))
    return FAILED


def complete_topic(incomplete: str) -> list[str]:
    """Complete a topic in the shell."""
    return [name for name in KNOWN_TOPICS if name.startswith(incomplete)]
