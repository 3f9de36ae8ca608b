"""Whether what was answered and what was done agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.ledger import lines_of
from tests.raw_http import NO_ANSWER

from .account import Account, Reply, Sent
from .settings import LEASE, READ_TIMEOUT
from .strays import LISTED

AFTERMATH = LEASE + 3.0
"""Seconds after a trouble in which it may still make a handler run once more: when leases end, somebody must look."""
RECOVERY = READ_TIMEOUT + 1.0
"""Seconds after a trouble in which it may still be why something was refused."""
HICCUPS = 0.01
"""The share of requests that may be refused without a trouble of ours: the machine is not ours alone."""
PROCESS_DIED = "ProcessDied"


@dataclass
class Run:
    """One run of a handler; ``ended`` is None where its process was killed in it."""

    handler: str
    fencing: str
    began: float
    ended: float | None = None
    outcome: str = "killed"


@dataclass
class Balance:
    """What was found: counts, what is odd, and what is wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def check(self, right: bool, what: str) -> None:
        """Note what is wrong unless it is right."""
        if not right:
            self.wrong.append(what)


def runs_in(ledger: Path) -> dict[str, list[Run]]:
    """Read what the handlers wrote down, by the id of the delivery."""
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    for outcome, handler, key, fencing, at in lines_of(ledger):
        if outcome == "start":
            runs[key].append(Run(handler, fencing, float(at)))
        else:
            run = next(one for one in reversed(runs[key]) if (one.handler, one.fencing) == (handler, fencing))
            run.ended, run.outcome = float(at), outcome
    return dict(runs)


def balance_of(account: Account, runs: Mapping[str, Sequence[Run]], *, refusal_is_certain: bool) -> Balance:
    """Compare.

    Args:
        account: what was sent, answered, and found in the dead letters.
        runs: what the handlers wrote down.
        refusal_is_certain: what was answered with 503 is never in the inbox; over a network that cannot be known.
    """
    balance = Balance()
    for key in runs.keys() - account.sent.keys():
        balance.wrong.append(f"{key} was run, and never sent as a good notification")
    for key, sent in account.sent.items():
        _check_answers(balance, key, sent)
        _check_outcome(balance, account, key, sent, runs.get(key, ()), refusal_is_certain)
    _check_groups(balance, account, runs)
    _check_replies(balance, account)
    return balance


def _check_answers(balance: Balance, key: str, sent: Sent) -> None:
    statuses = {reply.status for reply in sent.replies}
    balance.check(statuses <= {200, 503, NO_ANSWER}, f"{key} was answered with {statuses}")
    balance.check(sent.new <= 1, f"{key} was answered {sent.new} times as a new one")
    if sent.accepted and not sent.new:  # then the one that took it never got its answer through
        balance.check(statuses != {200}, f"{key} was answered as a duplicate of nothing")
        balance.counts["known without an answer that said so"] += 1
    balance.counts["notifications"] += 1
    if sent.accepted:
        balance.counts["answered with 200"] += 1
    elif NO_ANSWER in statuses:
        balance.counts["given up, without an answer"] += 1
    else:
        balance.counts["given up, refused"] += 1


def _check_outcome(
    balance: Balance, account: Account, key: str, sent: Sent, runs: Sequence[Run], refusal_is_certain: bool
) -> None:
    kind, counts = sent.kind, balance.counts
    handlers, errors = account.dead.get(key, ([], []))
    known = sent.accepted or bool(runs) or bool(handlers)
    if not known:
        return
    if not sent.accepted:
        counts["given up, and handled all the same"] += 1
        refused = refusal_is_certain and account.refused_for_good(sent)
        balance.check(not refused, f"{key} was refused, and handled: {account.story(sent)}")
    done = {run.handler for run in runs if run.outcome == "done"}
    killed = PROCESS_DIED in errors
    if handlers:
        counts["dead letters"] += 1
        right = handlers == [kind.fails] and (kind.error in errors or killed)
        balance.check(right or killed, f"{key} is a dead letter of {handlers} with {errors}, not of {kind.fails!r}")
        counts["dead letters, because of kills"] += killed and not right
    else:
        counts["completed"] += 1
        balance.check(not kind.fails, f"{key} should be a dead letter of {kind.fails!r}")
    missing = kind.completed_by - done - set(handlers)
    balance.check(not missing, f"{key} was lost: {', '.join(sorted(missing))} never succeeded: {account.story(sent)}")
    claims = Counter((run.handler, run.fencing) for run in runs)
    balance.check(all(count == 1 for count in claims.values()), f"{key} was run twice under one lease")
    counts["runs"] += len(runs)
    times = Counter(run.handler for run in runs)
    if times != Counter(kind.runs):
        counts["with more or fewer runs than usual"] += 1
        last = max([sent.at, *(run.ended or run.began for run in runs)])
        explained = account.troubled(sent.at, last, linger=AFTERMATH)
        balance.check(
            explained,
            f"{key} was run {dict(times)} times without a reason, not {dict(kind.runs)}: {account.story(sent)}",
        )


def _check_groups(balance: Balance, account: Account, runs: Mapping[str, Sequence[Run]]) -> None:
    """No two of a group run at the same time."""
    groups: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for key, sent in account.sent.items():
        if sent.group is not None:
            groups[sent.group] += [(run.began, run.ended) for run in runs.get(key, ()) if run.ended is not None]
    for name, spans in groups.items():
        spans.sort()
        balance.counts["runs, one after the other in their group"] += len(spans)
        for (_, ended), (began, _) in pairwise(spans):
            balance.check(began >= ended, f"two of {name} ran at the same time")


def _check_replies(balance: Balance, account: Account) -> None:
    """Each stray gets its documented answer, and nothing is refused without a reason."""

    def refused(reply: Reply) -> bool:
        return reply.status in (503, NO_ANSWER)

    for name, replies in account.others.items():
        listed = LISTED[name]
        others = Counter(one.status for one in replies if one.status not in listed and not refused(one))
        balance.check(not others, f"{name}: answered with {dict(others)}, not with {listed}")
        right = sum(one.status in listed for one in replies)
        balance.check(2 * right >= len(replies), f"{name}: only {right} of {len(replies)} got {listed}")
    every = account.replies + [
        one for name, replies in account.others.items() for one in replies if one.status not in LISTED[name]
    ]
    doubtful = [one for one in every if refused(one) and not account.troubled(one.began, one.ended, linger=RECOVERY)]
    balance.odd += [f"refused without trouble of ours: {account.since_trouble(one)}" for one in doubtful[:10]]
    balance.counts["requests"] = len(account.replies) + sum(map(len, account.others.values()))
    balance.counts["refused without trouble of ours"] = len(doubtful)
    balance.check(len(doubtful) <= HICCUPS * len(every), f"{len(doubtful)} requests were refused without a reason")
