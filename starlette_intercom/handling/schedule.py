"""When a failed handler is tried again."""

from __future__ import annotations

import msgspec

from ..errors import ConfigurationError


class Backoff(msgspec.Struct, frozen=True, gc=False):
    """Exponential waiting times with full jitter.

    After the n-th failure a handler waits a random time between zero and ``base * factor ** (n - 1)``, at most
    ``cap``: spread out like this, deliveries that failed together do not come back together.

    Attributes:
        base: seconds, more than 0.
        factor: at least 1.
        cap: seconds, at least ``base``.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    base: float = 1.0
    factor: float = 4.0
    cap: float = 3600.0

    def __post_init__(self) -> None:
        if not (0 < self.base <= self.cap < float("inf") and 1 <= self.factor < float("inf")):
            raise ConfigurationError("Backoff takes 0 < base <= cap in seconds, and a factor of at least 1.")

    def delay(self, failures: int, chance: float) -> float:
        """Return the seconds to wait.

        Args:
            failures: how often the handler has failed, at least 1.
            chance: a random number from 0 to 1.
        """
        try:
            longest = min(self.cap, self.base * self.factor ** (failures - 1))
        except OverflowError:
            longest = self.cap
        return longest * chance
