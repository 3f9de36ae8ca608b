"""Topics: the table, patterns, and the help for misspelt ones."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlette_intercom.errors import ConfigurationError
from starlette_intercom.known_topics import KNOWN_TOPICS, TopicName
from starlette_intercom.topics import check_pattern, matches, suggest

GENERATOR = Path(__file__).parents[1] / ".ci" / "generate_topics.py"

segments = st.text(
    st.characters(codec="ascii", categories=["Ll", "Nd"], include_characters="_"), min_size=1, max_size=8
)
topics = st.lists(segments, min_size=1, max_size=5).map(".".join)


def test_the_generated_module_is_what_the_generator_writes() -> None:
    done = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_all_topics_are_known() -> None:
    assert len(KNOWN_TOPICS) == 122
    assert Counter(topic.status for topic in KNOWN_TOPICS.values()) == {"current": 101, "legacy": 12, "preview": 9}
    assert get_args(TopicName) == tuple(KNOWN_TOPICS)


def test_the_table_of_topics_is_well_formed() -> None:
    assert list(KNOWN_TOPICS) == sorted(KNOWN_TOPICS)
    for name, topic in KNOWN_TOPICS.items():
        check_pattern(name)
        assert topic.name == name
        assert topic.summary
        assert topic.since is None or topic.since.startswith("2.")


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        KNOWN_TOPICS["ping"] = KNOWN_TOPICS["ping"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("ping", "ping"),
        ("contact.user.created", "contact.user.created"),
        ("contact.*", "contact.archived"),
        ("contact.*", "contact.user.created"),
        ("contact.*", "contact.user.tag.created"),
        ("contact.user.*", "contact.user.tag.created"),
        ("contact.*.created", "contact.user.created"),
        ("contact.*.tag.*", "contact.lead.tag.deleted"),
        ("*.created", "company.created"),
        ("*.*", "contact.user.created"),
        ("*.user.*", "conversation.user.created"),
        ("*", "ping"),
        ("*", "contact.user.created"),
        ("*", "something.nobody.knows.yet"),
    ],
)
def test_pattern_means(pattern: str, topic: str) -> None:
    assert matches(pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("ping", "pings"),
        ("contact.user.created", "contact.user"),
        ("contact.user", "contact.user.created"),
        ("contact.*", "contact"),
        ("contact.*", "contact."),
        ("contact.*", "contacts.archived"),
        ("contact.*", "contact_tag.created"),
        ("contact.user.*", "contact.user"),
        ("contact.user.*", "contact.lead.created"),
        ("contact.*.created", "contact.created"),
        ("contact.*.created", "contact..created"),
        ("contact.*.created", "contact.user.tag.created"),
        ("contact.*.created", "contact.user.created.again"),
        ("*.created", "contact.user.created"),
        ("*.*", "ping"),
        ("Contact.*", "contact.archived"),
        ("contact.archived", "contact.*"),
    ],
)
def test_pattern_does_not_mean(pattern: str, topic: str) -> None:
    assert not matches(pattern, topic)


@given(topics)
def test_a_topic_means_itself_and_a_star_means_all(topic: str) -> None:
    assert matches(topic, topic)
    assert matches("*", topic)


@given(topics, topics)
def test_a_prefix_means_all_below_it_and_nothing_else(prefix: str, topic: str) -> None:
    assert matches(f"{prefix}.*", f"{prefix}.{topic}")
    assert not matches(f"{prefix}.*", prefix)
    assert not matches(f"{prefix}.*", f"{prefix}_{topic}")


@given(topics, st.integers(0, 4))
def test_a_star_before_the_end_means_exactly_one_segment(topic: str, at: int) -> None:
    parts = topic.split(".")
    at %= len(parts)
    pattern = ".".join([*parts[:at], "*", *parts[at + 1 :], "end"])
    assert matches(pattern, f"{topic}.end")
    assert not matches(pattern, f"{'.'.join(parts[:at] + parts[at + 1 :])}.end".lstrip("."))
    assert not matches(pattern, f"{'.'.join([*parts[:at], 'one', 'more', *parts[at + 1 :]])}.end")


@pytest.mark.parametrize("pattern", ["ping", "*", "contact.*", "contact.*.created", "*.created", "a" * 255, "äöü.*"])
def test_good_pattern(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (None, "not NoneType"),
        (b"contact.*", "not bytes"),
        (["contact.*"], "not list"),
        ("", "is empty"),
        ("contact.archived contact.deleted", "blank or a control character"),
        (" contact.*", "blank or a control character"),
        ("contact.*\n", "blank or a control character"),
        ("contact\x00", "blank or a control character"),
        ("contact..created", "empty segment"),
        (".created", "empty segment"),
        ("contact.", "empty segment"),
        (".", "empty segment"),
        ("conv*", "part of a segment"),
        ("contact.user*", "part of a segment"),
        ("**", "part of a segment"),
        ("a" * 256, "at most 255 characters"),
    ],
)
def test_bad_pattern_is_refused_with_a_sentence(pattern: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        check_pattern(pattern)


@given(st.text(max_size=20))
def test_any_text_is_a_pattern_or_a_configuration_error(text: str) -> None:
    try:
        check_pattern(text)
    except ConfigurationError:
        return
    assert matches(text, text)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("conversation.user.create", "conversation.user.created"),
        ("conversation.user.reply", "conversation.user.replied"),
        ("convresation.user.created", "conversation.user.created"),
        ("conversation_user_created", "conversation.user.created"),
        ("Contact.User.Created", "contact.user.created"),
        ("contact.users.created", "contact.user.created"),
        ("contact.unarchived", "contact.unarchive"),
        ("ticket.create", "ticket.created"),
        ("user.created ", "user.created"),
        ("conversations.*", "conversation.*"),
        ("contact.users.*", "contact.user.*"),
        ("*", None),
        ("ping", None),
        ("contact.user.created", None),
        ("contact.*", None),
        ("", None),
        ("order.placed", None),
        ("order.*", None),
        ("pong", None),
        ("ticket.deleted", None),
        ("conversation.admin.archived", None),
        ("messenger.deployment_completed.event.created", None),
    ],
)
def test_did_you_mean(given: str, meant: str | None) -> None:
    assert suggest(given) == meant
