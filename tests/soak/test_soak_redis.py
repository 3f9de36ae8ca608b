"""The same with Redis; in a file of its own, so that another worker of pytest-xdist can take it meanwhile.

For longer, by hand: ``python -m tests.soak.run --minutes 10 --inbox redis``.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.redis_process import require_redis


def test_nothing_is_lost_and_nothing_grows_with_redis(soak: Callable[[str, float], None]) -> None:
    require_redis()
    soak("redis", 45)
