"""Topics: what is known about each, and which of them a pattern means.

The table of known topics is generated and stands apart, in ``known_topics``.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from .errors import ConfigurationError

_LONGEST_PATTERN: Final = 255  # of a topic, too: Notification accepts no longer one

# How much of two names must agree for one to be taken for a misspelling of the other, from 0 to 1. At 0.9 a few letters
# may be wrong or missing, while most topics that differ in a verb stay apart.
_SIMILAR: Final = 0.9


class Topic(msgspec.Struct, frozen=True, gc=False):
    """What is known about one topic.

    Attributes:
        name: as it stands in a notification, such as ``conversation.user.created``.
        item: the ``type`` of ``data.item``; empty where the item has none.
        summary: what ``data.item`` holds, in a few words.
        status: ``current``, ``preview`` (only apps on Intercom's preview API get it), or ``legacy`` (only apps on
            API 1.x, or for one topic before 2.6, still get it).
        since: the API version that brought it, such as ``2.16``, where that is known.
    """

    name: str
    item: str
    summary: str
    status: Literal["current", "preview", "legacy"]
    since: str | None


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a pattern means a topic.

    A pattern is a topic, or has ``*`` in place of whole segments: the last ``*`` stands for one or more segments, any
    other for exactly one. So ``contact.*`` means ``contact.archived`` and ``contact.user.created``, but neither
    ``contact`` nor ``contacts.archived``; ``contact.*.created`` means ``contact.user.created``;
    ``*`` means every topic.

    Args:
        pattern: a pattern that :func:`check_pattern` accepts.
        topic: topic of a notification.
    """
    if pattern in ("*", topic):
        return True
    if "*" not in pattern:
        return False
    wanted = pattern.split(".")
    given = topic.split(".")
    if wanted[-1] == "*":
        del given[len(wanted) :]
    if len(wanted) != len(given):
        return False
    for want, segment in zip(wanted, given, strict=True):
        if want != segment and (want != "*" or not segment):
            return False
    return True


def check_pattern(pattern: object) -> None:
    """Refuse what is no pattern of topics.

    Raises:
        ConfigurationError: it is not a ``str``, is empty or too long, contains blanks or control characters, has an
            empty segment, or a ``*`` that is not a whole segment. The sentence says what to write instead.
    """
    if not isinstance(pattern, str):
        raise ConfigurationError(
            f"A topic is a str such as 'contact.user.created' or 'contact.*', not {type(pattern).__name__}."
        )
    if not pattern:
        raise ConfigurationError(
            "The topic is empty: name one, such as 'contact.user.created', or '*' for every topic."
        )
    if len(pattern) > _LONGEST_PATTERN:
        raise ConfigurationError(f"A topic has at most {_LONGEST_PATTERN} characters; this one has {len(pattern)}.")
    if " " in pattern or not pattern.isprintable():
        raise ConfigurationError(
            f"The topic {pattern!r} contains a blank or a control character. "
            "Several topics are several arguments: 'contact.archived', 'contact.deleted'."
        )
    segments = pattern.split(".")
    if "" in segments:
        raise ConfigurationError(
            f"The topic {pattern!r} has an empty segment: dots stand between segments, as in 'contact.user.created'."
        )
    for segment in segments:
        if "*" in segment and segment != "*":
            raise ConfigurationError(
                f"In the topic {pattern!r} the '*' is part of a segment. It stands for whole segments: "
                "'contact.*' means every topic below contact, '*' every topic."
            )


def suggest(pattern: str) -> str | None:
    """Return the known topic that a misspelt one was probably meant to be.

    Only for hints: the set of topics is open, so what has a suggestion may be right all the same.

    Args:
        pattern: a topic, or a pattern; for a pattern that ends in ``.*`` such a pattern is suggested.

    Returns:
        What was probably meant, or None where ``pattern`` means a known topic or nothing is close enough.
    """
    # Not at the top: that module imports Topic from this one, and both are only needed for a mistake.
    from difflib import get_close_matches

    from .known_topics import KNOWN_TOPICS

    if any(matches(pattern, name) for name in KNOWN_TOPICS):
        return None
    candidates = list(KNOWN_TOPICS)
    if pattern.endswith(".*"):
        segments = [name.split(".") for name in KNOWN_TOPICS]
        candidates = sorted({".".join([*name[:end], "*"]) for name in segments for end in range(1, len(name))})
    close = get_close_matches(pattern.strip().lower(), candidates, n=1, cutoff=_SIMILAR)
    return close[0] if close else None
