"""The simple model that the conformance suite compares an inbox with: a dictionary, and the rules of the contract."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from ..inbox.contract import Claim, Failure
from ..notification import VerifiedBody, VerifiedNotification


def notification_for(
    key: str, *, topic: str = "contact.created", created_at: int = 1_700_000_000
) -> VerifiedNotification:
    """Return a notification as it comes out of the signature's check."""
    body = {
        "type": "notification_event",
        "app_id": "workspace",
        "id": f"notif_{len(key)}",
        "topic": topic,
        "created_at": created_at,
        "data": {"type": "notification_event_data", "item": {"type": "contact", "id": key}},
    }
    return VerifiedNotification(VerifiedBody(content=json.dumps(body).encode(), secret_name="conformance"))


@dataclass(eq=False)
class Record:
    """What the model knows of one delivery."""

    key: str
    raw: bytes
    group: str | None
    trace: str | None
    order: tuple[int, int]
    """created_at, then arrival."""
    state: str
    """waiting, running, scheduled, dead or done."""
    at: float
    """The end of the lease, when it is due, when it died or was done."""
    attempt: int = 0
    fencing: int = 0
    done: frozenset[str] = frozenset()
    failures: tuple[Failure, ...] = ()
    handlers: tuple[str, ...] = ()
    unreported: bool = False
    fresh: bool = True
    """Neither claimed nor named so far: the order among these is known for sure."""
    maybe_free: bool = False
    """It ran when the inbox was restarted, so that an inbox may know that its lease is worth nothing."""
    named_until: float = 0.0
    given_back: bool = False
    """It was given back late, after it had been named: an inbox may name it again at once."""


@dataclass(frozen=True)
class Slot:
    """Room for one delivery in a claim: a delivery of no group, or the next of a group."""

    record: Record
    certain: bool
    """A claim with room for it must take it."""


class Model:
    """Every delivery that was ever accepted and is still known."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.arrivals = 0
        self.fencing_numbers: set[int] = set()

    def accept(self, key: str, raw: bytes, created_at: int, group: str | None, trace: str | None, now: float) -> None:
        """Add what the inbox says is new."""
        self.arrivals += 1
        self.records[key] = Record(key, raw, group, trace, (created_at, self.arrivals), "waiting", now)

    def current(self, claim: Claim) -> Record | None:
        """Return what a claim gives the right to change, or None where it is not the current one."""
        record = self.records.get(claim.delivery.id)
        if record is None or record.state != "running" or record.fencing != claim.delivery.fencing:
            return None
        return record

    def slots(self, now: float) -> list[Slot]:
        """Return what a claim may take."""
        unfinished = [record for record in self.records.values() if record.state in ("waiting", "scheduled", "running")]
        slots = [_slot(record, now) for record in unfinished if record.group is None]
        for group in {record.group for record in unfinished} - {None}:
            members = sorted((record for record in unfinished if record.group == group), key=lambda one: one.order)
            running = [record for record in members if record.state == "running" and record.at > now]
            if not running:
                slots.append(_slot(members[0], now))
            elif all(record.maybe_free for record in running):
                slots.append(Slot(members[0], certain=False) if _may_be_ready(members[0], now) else None)
        return [slot for slot in slots if slot is not None]

    def check_claim(self, claims: Collection[Claim], limit: int, ids: Collection[str] | None, now: float) -> None:
        """Check what an inbox gave out, and note it."""
        slots = [slot for slot in self.slots(now) if ids is None or slot.record.key in ids]
        taken = {claim.delivery.id for claim in claims}
        possible = {slot.record.key for slot in slots}
        certain = {slot.record.key for slot in slots if slot.certain}
        assert len(taken) == len(claims) <= limit, "more than was asked for, or one twice"
        assert taken <= possible, f"not ready: {taken - possible}"
        assert len(taken) == limit or certain <= taken, f"ready and not taken: {certain - taken}"
        if ids is None:
            fresh = [slot.record for slot in slots if slot.record.fresh and slot.record.group is None]
            in_order = [record.key in taken for record in sorted(fresh, key=lambda record: record.order[1])]
            assert in_order == sorted(in_order, reverse=True), "not the oldest first"
        for claim in claims:
            self._take(claim)

    def end_leases_of_group(self, record: Record, now: float) -> None:
        """One of a group became free to run: leases of others in it that were in doubt are over."""
        for other in self.records.values():
            if other.maybe_free and (other is record or (other.group is not None and other.group == record.group)):
                other.maybe_free = False
                other.at = min(other.at, now)

    def renewable(self, record: Record, now: float) -> bool:
        """Return whether a current claim can be renewed: not when another of its group runs by now."""
        return not any(
            other is not record
            and other.group is not None
            and other.group == record.group
            and other.state == "running"
            and other.at > now
            and not other.maybe_free
            for other in self.records.values()
        )

    def count(self, now: float) -> dict[str, int]:
        """Count by state, as :class:`~starlette_intercom.inbox.contract.Stats` does."""
        counts = dict.fromkeys(("waiting", "running", "scheduled", "dead", "done"), 0)
        for record in self.records.values():
            passed = record.state in ("running", "scheduled") and record.at <= now
            counts["waiting" if passed else record.state] += 1
        return counts

    def _take(self, claim: Claim) -> None:
        record = self.records[claim.delivery.id]
        assert claim.delivery.fencing > record.fencing
        assert claim.delivery.fencing not in self.fencing_numbers
        self.fencing_numbers.add(claim.delivery.fencing)
        assert claim.delivery.attempt == record.attempt + 1
        assert claim.recovered == record.unreported
        assert (claim.notification.raw, claim.trace) == (record.raw, record.trace)
        assert (claim.done, claim.failures) == (record.done, record.failures)
        record.attempt += 1
        record.fencing = claim.delivery.fencing
        record.state = "running"
        record.unreported = True
        record.fresh = record.maybe_free = False
        record.named_until = 0.0
        record.given_back = False


def _may_be_ready(record: Record, now: float) -> bool:
    return record.state == "waiting" or record.at <= now or record.maybe_free


def _slot(record: Record, now: float) -> Slot | None:
    if record.state == "waiting" or record.at <= now:
        return Slot(record, certain=True)
    return Slot(record, certain=False) if record.maybe_free else None
