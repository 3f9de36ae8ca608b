"""What happened in a crash test: what was sent and answered, what was killed, and what became of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.ledger import lines_of


@dataclass
class Account:
    """What happened."""

    sent: int = 0
    answers: int = 0
    answered: set[str] = field(default_factory=set)
    refused: Counter[int] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    completions: Counter[str] = field(default_factory=Counter)
    leases: Counter[tuple[str, str]] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    unfinished: int = 0
    dead: int = 0

    def read(self, ledger: Path) -> None:
        """Take over what the processes wrote down."""
        for what, key, fencing in lines_of(ledger):
            if what == "run":
                self.runs[key] += 1
                self.leases[key, fencing] += 1
            elif what == "done":
                self.completions[key] += 1

    @property
    def lost(self) -> set[str]:
        """Answered with 200, and then neither handled nor known."""
        return {key for key in self.answered if not self.runs[key]} | self.unknown

    @property
    def doubled(self) -> set[str]:
        """Completed more than once: two runs held a valid lease."""
        twice = {key for key, count in self.completions.items() if count > 1}
        return twice | {key for (key, _), count in self.leases.items() if count > 1}

    def __str__(self) -> str:
        again = sum(self.runs.values()) - len(self.runs)
        return (
            f"notifications {self.sent}, answered with 200 {len(self.answered)} ({self.answers} copies), "
            f"other answers (0: none) {dict(self.refused)}\n"
            f"kills {self.kills.total()}: {dict(sorted(self.kills.items()))}\n"
            f"handled {len(self.runs)}, run again {again}, dead {self.dead}, unfinished {self.unfinished}\n"
            f"lost {len(self.lost)}, with two valid leases {len(self.doubled)}"
        )
