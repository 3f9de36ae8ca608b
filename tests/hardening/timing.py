"""Measures whether the time of a verification tells how much of a wrong signature is right, or which secret matched.

    python -m tests.hardening.timing --rounds 20000

Each kind of header is verified in turn, in a random order in each round, so that whatever else the machine does falls
on all of them alike. Compared are the medians, and Welch's t over the faster nine tenths of each kind. Above 4.5 there
is a difference; it is a leak where the medians are more than 100 ns apart, far less than a network lets anybody see. A
busy machine can show anything once; a leak shows each time.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import statistics
import sys
import time
from collections.abc import Callable

from starlette_intercom import sign, verify
from starlette_intercom.receiving.signature import Secrets

DIFFERENT = 4.5  # the limit that is usual for Welch's t in the search for leaks
LEAK = 100  # nanoseconds
Check = Callable[[bytes, bytes, Secrets], object]
BODY = b'{"type": "notification_event"}' * 30


def headers_by_kind(secrets: list[str]) -> dict[str, bytes]:
    """Return headers that are right in their first n digits, and the right ones of each secret."""
    right = sign(BODY, secrets[0]).encode()
    kinds = {}
    for digits in (0, 1, 8, 20, 39):
        wrong = bytes(ord("0") if one != ord("0") else ord("1") for one in right[5 + digits :])
        kinds[f"{digits} digits right"] = right[: 5 + digits] + wrong
    for number, secret in enumerate(secrets, 1):
        kinds[f"secret {number} of {len(secrets)}"] = sign(BODY, secret).encode()
    return kinds


def measure(rounds: int, seed: int, check: Check = verify) -> dict[str, list[int]]:
    """Return the nanoseconds of the faster nine tenths of the verifications, by kind."""
    chance = random.Random(seed)
    names = ["first-secret", "second-secret", "third-secret"]
    secrets = Secrets(names)
    kinds = headers_by_kind(names)
    order = list(kinds)
    times: dict[str, list[int]] = {kind: [] for kind in kinds}
    gc.disable()
    for _ in range(rounds):
        chance.shuffle(order)
        for kind in order:
            header = kinds[kind]
            began = time.perf_counter_ns()
            check(BODY, header, secrets)
            times[kind].append(time.perf_counter_ns() - began)
    gc.enable()
    return {kind: sorted(found)[: rounds * 9 // 10] for kind, found in times.items()}


def welch(left: list[int], right: list[int]) -> float:
    """Return Welch's t of two samples."""
    spread = statistics.variance(left) / len(left) + statistics.variance(right) / len(right)
    return (statistics.fmean(left) - statistics.fmean(right)) / math.sqrt(spread)


def compare(times: dict[str, list[int]]) -> dict[str, tuple[float, float]]:
    """Return Welch's t of each kind against the first of its group, and how many nanoseconds the medians are apart."""
    found = {}
    for group in ("digits right", "secret"):
        first, *others = [kind for kind in times if group in kind]
        for kind in others:
            apart = statistics.median(times[kind]) - statistics.median(times[first])
            found[kind] = welch(times[kind], times[first]), apart
    return found


def leaks(times: dict[str, list[int]]) -> list[str]:
    """Return the kinds that the time tells apart."""
    return [kind for kind, (t, apart) in compare(times).items() if abs(t) > DIFFERENT and abs(apart) > LEAK]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    times = measure(chosen.rounds, chosen.seed)
    for kind, (t, apart) in compare(times).items():
        print(f"{kind:>16}: median {statistics.median(times[kind]):7.0f} ns, {apart:+.0f} ns, t {t:+.2f}")
    return 1 if leaks(times) else 0


if __name__ == "__main__":
    sys.exit(main())
