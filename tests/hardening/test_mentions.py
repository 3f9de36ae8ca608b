"""What counts as a mention of a contact, which decides what is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import envelope, notification

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def leaves(item: Any) -> set[str]:
    if isinstance(item, dict):
        return set().union(*map(leaves, item.values()))
    if isinstance(item, list):
        return set().union(*map(leaves, item))
    return {str(item)} if isinstance(item, (str, int)) and not isinstance(item, bool) else set()


@given(values, st.text(min_size=1, max_size=5))
def test_every_value_is_found_and_nothing_else(item: Any, other: str) -> None:
    read = notification(envelope(item={"wrapped": item}))
    found = leaves(item)
    assert all(read.mentions(value) for value in found)
    assert read.mentions(other) == (other in found)


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ('{"contacts": [{"id": "6f"}]}', True),
        ('{"author": {"email": "\\u0036f"}}', True),
        ('{"id": "6f0"}', False),
        ('{"6f": 1}', False),
        ("[" * 900 + '"6f"' + "]" * 900, True),
        ('"\xff 6f"', True),  # not text, so that nothing can be read: rather once too often
    ],
)
def test_it_is_found_however_it_is_written(item: str, found: bool) -> None:
    body = envelope(item="here").replace(b'"here"', item.encode("latin-1"))
    assert notification(body).mentions("6f") == found
