"""The time of a verification tells nothing; and if it did, this would see it."""

from __future__ import annotations

import hmac

from starlette_intercom import HUB_SIGNATURE, verify
from starlette_intercom.receiving.signature import Secrets
from tests.hardening.timing import leaks, measure

ROUNDS = 2_000
TRIES = 5


def test_time_tells_neither_digits_nor_the_secret() -> None:
    assert any(leaks(measure(ROUNDS, seed)) == [] for seed in range(TRIES))  # what is busy once is not so each time


def stops_early(body: bytes, header: bytes, secrets: Secrets) -> bool:
    """Stop at the first secret that matches."""
    for key in secrets._by_name.values():
        if hmac.compare_digest(key.digits(body, HUB_SIGNATURE.algorithm).encode(), header[5:]):
            return True
    return False


def compares_each(body: bytes, header: bytes, secrets: Secrets) -> bool:
    """Compare digit by digit, up to the first that is wrong."""
    given = header[5:]
    for key in secrets._by_name.values():
        right = key.digits(body, HUB_SIGNATURE.algorithm).encode()
        at = 0
        while at < len(right) and right[at] == given[at]:
            at += 1
    return verify(body, header, secrets) is not None


def test_a_leak_is_seen() -> None:
    assert any(leaks(measure(ROUNDS, seed, stops_early)) for seed in range(TRIES))
    assert any("39 digits right" in leaks(measure(ROUNDS, seed, compares_each)) for seed in range(TRIES))
