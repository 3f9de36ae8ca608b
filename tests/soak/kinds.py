"""The kinds of notifications that are sent, and what must become of each."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette_intercom.testing import sample

from .settings import PREFIX

CONVERSATIONS = 5
"""So many keys that deliveries are serialized by."""
FILLER = "x" * 150_000


@dataclass(frozen=True)
class Kind:
    """Notifications of one topic that end in the same way.

    Attributes:
        topic: of all of them; another kind may have the same.
        runs: how often each of their handlers is run, where nothing comes in its way.
        fails: the handler that never succeeds.
        error: with which they lie in the dead letters; empty for those that are completed.
        large: nearly as large as a body may be.
        share: so many are sent for one of another kind.
    """

    topic: str
    runs: Mapping[str, int]
    fails: str = ""
    error: str = ""
    large: bool = False
    share: int = 1

    @property
    def completed_by(self) -> set[str]:
        """The handlers that succeed."""
        return set(self.runs) - {self.fails}

    def group(self, chance: random.Random) -> str | None:
        """Return what one of them is serialized by."""
        return f"conversation-{chance.randrange(CONVERSATIONS)}" if "serialized" in self.runs else None

    def notification(self, number: int, group: str | None) -> dict[str, Any]:
        """Return a new one."""
        more: dict[str, object] = {"item.filler": FILLER} if self.large else {}
        if group is not None:
            more["item.id"] = group
        return sample(self.topic, id=f"{PREFIX}_{number}", **more)


KINDS = {
    "quick": Kind("conversation.user.created", {"first": 1, "second": 1}, share=6),
    "large": Kind("conversation.user.created", {"first": 1, "second": 1}, large=True),
    "serialized": Kind("conversation.user.replied", {"serialized": 1}, share=4),
    "in a thread": Kind("contact.user.created", {"threaded": 1}, share=3),
    "failing twice": Kind("contact.lead.created", {"flaky": 3}),
    "asking for later": Kind("contact.subscribed", {"later": 2}),
    "too slow once": Kind("ticket.created", {"overdue": 2}),
    "sending an event": Kind("conversation.admin.replied", {"event": 1}),
    "too slow always": Kind("ticket.closed", {"endless": 2}, "endless", "TimeoutError"),
    "failing always": Kind("company.created", {"kept": 1, "failing": 2}, "failing", "RuntimeError"),
    "failing in a thread": Kind("company.updated", {"threaded_failing": 2}, "threaded_failing", "ValueError"),
    "rejected": Kind("contact.deleted", {"rejecting": 1}, "rejecting", "Reject"),
    "of another shape": Kind("contact.email.updated", {"typed": 0}, "typed", "InvalidNotification"),
}
