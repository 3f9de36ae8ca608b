"""What was sent, what was answered, and what was done to the servers meanwhile."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from tests.raw_http import NO_ANSWER, Answer

from .kinds import Kind


@dataclass(frozen=True)
class Reply:
    """What one request got.

    Attributes:
        began: when it was sent, in seconds of the monotonic clock, as all times here.
        ended: when the answer was there, or was given up.
        status: of HTTP, or ``NO_ANSWER``.
        duplicate: the answer says that the notification is known.
    """

    began: float
    ended: float
    status: int
    duplicate: bool

    @classmethod
    def of(cls, answer: Answer, began: float) -> Reply:
        """Describe an answer that came just now."""
        return cls(began, monotonic(), answer.status, b'"duplicate"' in answer.body)


@dataclass
class Sent:
    """One notification, and every answer to each of its copies."""

    kind: Kind
    at: float
    group: str | None
    replies: list[Reply] = field(default_factory=list)

    @property
    def new(self) -> int:
        """How many answers took it for a new one."""
        return sum(reply.status == 200 and not reply.duplicate for reply in self.replies)

    @property
    def accepted(self) -> bool:
        return any(reply.status == 200 for reply in self.replies)


FILE_GONE = "file gone"
"""The trouble that can hit a commit in its middle: it is refused, since nobody finds that file, and is in it all the
same when the file comes back."""


@dataclass(frozen=True)
class Trouble:
    """Something that was done to the servers or their inbox; ``ended`` when it was good again."""

    name: str
    began: float
    ended: float


@dataclass
class Account:
    """All of it."""

    sent: dict[str, Sent] = field(default_factory=dict)
    others: defaultdict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    troubles: list[Trouble] = field(default_factory=list)
    dead: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    """Every dead letter that was ever seen: handlers that failed for good, and all errors."""

    @contextmanager
    def trouble(self, name: str) -> Iterator[None]:
        """Note what goes on inside as trouble."""
        began = monotonic()
        try:
            yield
        finally:
            self.troubles.append(Trouble(name, began, monotonic()))

    def troubled(self, began: float, ended: float, *, linger: float) -> bool:
        """Tell whether there was trouble in a span, or within ``linger`` seconds before it."""
        return any(one.began <= ended and began <= one.ended + linger for one in self.troubles)

    def refused_for_good(self, sent: Sent) -> bool:
        """Tell whether each answer says that nothing was written, and none was given while the file went away."""
        gone = [one.began for one in self.troubles if one.name == FILE_GONE]
        return all(
            reply.status == 503 and not any(reply.began <= at <= reply.ended for at in gone) for reply in sent.replies
        )

    def since_trouble(self, reply: Reply) -> str:
        """Tell what a reply was, and how long after the last trouble before it."""
        before = [one for one in self.troubles if one.ended <= reply.began]
        told = f"{_label(reply)} within {reply.ended - reply.began:.1f} s"
        return f"{told}, {reply.began - before[-1].ended:.1f} s after {before[-1].name}" if before else told

    def story(self, sent: Sent) -> str:
        """Tell what happened around a notification, in seconds since it was first sent."""
        told = [(reply.began, f"asked, {_label(reply)} at {reply.ended - sent.at:.3f}") for reply in sent.replies]
        last = max(reply.ended for reply in sent.replies)
        told += [
            (one.began, f"{one.name} until {one.ended - sent.at:.3f}")
            for one in self.troubles
            if one.began <= last + 10 and sent.at <= one.ended + 10
        ]
        return "; ".join(f"{at - sent.at:.3f} {what}" for at, what in sorted(told))

    @property
    def replies(self) -> list[Reply]:
        """To notifications that have a handler."""
        return [reply for sent in self.sent.values() for reply in sent.replies]

    def __str__(self) -> str:
        kinds = Counter(one.name for one in self.troubles)
        lines = [f"trouble: {', '.join(f'{count} x {name}' for name, count in sorted(kinds.items()))}"]
        answers = {"notifications with a handler": self.replies, **self.others}
        for name, replies in answers.items():
            counts = Counter(_label(reply) for reply in replies)
            told = ", ".join(f"{label}: {count}" for label, count in sorted(counts.items()))
            lines.append(f"{len(replies):7} x {name:<30} {told}")
        return "\n".join(lines)


def _label(reply: Reply) -> str:
    if reply.status == NO_ANSWER:
        return "no answer"
    return f"{reply.status}{' duplicate' if reply.duplicate else ''}"
