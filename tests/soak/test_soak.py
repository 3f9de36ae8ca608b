"""Nothing is lost and nothing grows while servers run on and on: the short version.

For longer, by hand: ``python -m tests.soak.run --minutes 30``.
"""

from __future__ import annotations

from collections.abc import Callable


def test_nothing_is_lost_and_nothing_grows_with_sqlite(soak: Callable[[str, float], None]) -> None:
    soak("sqlite", 95)
