"""The soak test notices what it is there to notice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.raw_http import NO_ANSWER
from tests.soak.account import FILE_GONE, Account, Reply, Sent, Trouble
from tests.soak.balance import Run, balance_of
from tests.soak.kinds import KINDS
from tests.soak.logs import judge
from tests.soak.settings import SECRET
from tests.soak.watch import (
    BLOCKS_GROWTH,
    MEMORY_GROWTH,
    MORE_FILES,
    STORAGE_GROWTH,
    STORAGE_MOST,
    Sample,
    Watch,
    compared,
)

NEW, KNOWN = Reply(1, 2, 200, duplicate=False), Reply(1, 2, 200, duplicate=True)
REFUSED, NOTHING = Reply(1, 2, 503, duplicate=False), Reply(1, 2, NO_ANSWER, duplicate=False)
DONE = Run("threaded", "1", 2, 3, "done")
AGAIN = Run("threaded", "2", 5, 6, "done")
DEAD = (["rejecting"], ["Reject"])


def account_of(kind: str, *replies: Reply, group: str | None = None) -> Account:
    return Account(sent={"w:1": Sent(KINDS[kind], 1, group, list(replies))}, troubles=[Trouble("of old", -99, -90)])


def wrong_with(account: Account, *runs: Run) -> str:
    balance = balance_of(account, {"w:1": list(runs)} if runs else {}, refusal_is_certain=True)
    return "\n".join(balance.wrong)


@pytest.mark.parametrize(
    ("kind", "replies", "runs", "dead"),
    [
        ("in a thread", [NEW], [DONE], None),
        ("in a thread", [NEW, KNOWN], [DONE], None),
        ("in a thread", [NOTHING, KNOWN], [DONE], None),
        ("in a thread", [NOTHING, NOTHING], [], None),
        ("in a thread", [NOTHING, NOTHING], [DONE], None),
        ("rejected", [NEW], [Run("rejecting", "1", 2, 3, "failed")], DEAD),
    ],
)
def test_what_balances(
    kind: str, replies: Sequence[Reply], runs: Sequence[Run], dead: tuple[list[str], list[str]] | None
) -> None:
    account = account_of(kind, *replies)
    account.troubles.append(Trouble("kill", 1, 2))
    if dead is not None:
        account.dead["w:1"] = dead
    assert wrong_with(account, *runs) == ""


@pytest.mark.parametrize(
    ("kind", "replies", "runs", "noticed"),
    [
        ("in a thread", [NEW], [], "lost"),
        ("in a thread", [NEW], [Run("threaded", "1", 2)], "lost"),
        ("in a thread", [NEW], [Run("threaded", "1", 2, 3, "failed")], "lost"),
        ("quick", [NEW], [Run("first", "1", 2, 3, "done")], "lost: second"),
        ("in a thread", [NEW], [DONE, AGAIN], "2} times without a reason"),
        ("failing twice", [NEW], [Run("flaky", "1", 2, 3, "done")], "1} times without a reason"),
        ("in a thread", [NEW], [DONE, DONE], "twice under one lease"),
        ("in a thread", [NEW, NEW], [DONE], "2 times as a new one"),
        ("in a thread", [KNOWN], [DONE], "a duplicate of nothing"),
        ("in a thread", [REFUSED, REFUSED], [DONE], "refused, and handled"),
        ("in a thread", [Reply(1, 2, 500, duplicate=False)], [DONE], "answered with {500}"),
        ("in a thread", [REFUSED, NEW], [DONE], "refused without a reason"),
        ("rejected", [NEW], [Run("rejecting", "1", 2, 3, "failed")], "should be a dead letter"),
    ],
)
def test_what_does_not_balance(kind: str, replies: Sequence[Reply], runs: Sequence[Run], noticed: str) -> None:
    assert noticed in wrong_with(account_of(kind, *replies), *runs)


def test_trouble_explains_another_run() -> None:
    account = account_of("in a thread", NEW)
    account.troubles.append(Trouble("kill", 3, 4))
    assert wrong_with(account, DONE, AGAIN) == ""


def test_a_file_that_goes_in_the_middle_of_a_commit_explains_what_was_refused_and_handled() -> None:
    account = account_of("in a thread", REFUSED, REFUSED)
    account.troubles.append(Trouble(FILE_GONE, 1.5, 3))
    assert wrong_with(account, DONE) == ""


def test_a_dead_letter_that_should_not_be_one() -> None:
    account = account_of("in a thread", NEW)
    account.dead["w:1"] = (["threaded"], ["ValueError"])
    assert "is a dead letter of" in wrong_with(account, DONE)


def test_what_was_never_sent() -> None:
    assert "never sent" in wrong_with(Account(), DONE)


def test_two_of_a_group_at_the_same_time() -> None:
    account = account_of("serialized", NEW, group="a")
    account.sent["w:2"] = account.sent["w:1"]
    runs = {"w:1": [Run("serialized", "1", 2, 4, "done")], "w:2": [Run("serialized", "2", 3, 5, "done")]}
    (wrong,) = balance_of(account, runs, refusal_is_certain=True).wrong
    assert wrong == "two of a ran at the same time"


def test_an_answer_that_is_not_listed() -> None:
    account = account_of("in a thread", NEW)
    account.others["GET"] += [Reply(1, 2, 405, duplicate=False), Reply(1, 2, 500, duplicate=False)]
    assert wrong_with(account, DONE) == "GET: answered with {500: 1}, not with {405}"


def sample_of(at: float, *, memory: float = 50, files: int = 20, blocks: int = 0) -> Sample:
    return Sample(at=at, pid=1, memory=memory, files=files, threads=5, tasks=60, running=0, blocks=blocks)


@pytest.mark.parametrize(
    ("memory", "blocks", "file", "noticed"),
    [
        (MEMORY_GROWTH, BLOCKS_GROWTH, STORAGE_GROWTH, []),
        (MEMORY_GROWTH + 1, 0, 0, [f"the memory of a process grew by {MEMORY_GROWTH + 1} MiB"]),
        (0, BLOCKS_GROWTH + 1, 0, [f"the memory of a process grew by {BLOCKS_GROWTH + 1} blocks"]),
        (0, 0, STORAGE_GROWTH + 1, [f"file grew by {STORAGE_GROWTH + 1} MiB"]),
        (0, 0, STORAGE_MOST["file"] + 1, ["file grew by 25.0 MiB", "file took 25.0 MiB"]),
    ],
)
def test_what_grows(memory: float, blocks: int, file: float, noticed: list[str]) -> None:
    watch = Watch([], lambda: None, Account(), interval=1)
    for at in range(30):
        late = at >= 20  # in the last third
        watch.samples.append(sample_of(at, memory=50 + late * memory, blocks=late * blocks))
        watch.stored.append((at, {"file": late * file}))
    told, wrong = watch.growth(0, 30)
    assert wrong == noticed
    assert len(told) == 2


def test_what_a_process_at_rest_keeps() -> None:
    assert compared([sample_of(1)], [sample_of(99, files=20 + MORE_FILES)])[1] == []
    _, wrong = compared([sample_of(1)], [sample_of(99, files=21 + MORE_FILES)])
    assert wrong == [f"files at rest: {21 + MORE_FILES}, which was 20 at first"]


@pytest.mark.parametrize(
    ("line", "noticed"),
    [
        ("ERROR: starlette_intercom: Dead letter w:1 ('ping'), handler x: y", []),
        ("ERROR: asyncio: Task exception was never retrieved", ["an error in the log"]),
        ("ERROR:    Exception in ASGI application", ["an error in the log"]),
        ("Traceback (most recent call last):", ["a traceback in the log"]),
        (f"WARNING: it is {SECRET}", ["the secret is in a log"]),
        ("WARNING: again\n" * 2000, ["2000 lines in the logs"]),
    ],
)
def test_what_servers_may_not_say(line: str, noticed: list[str]) -> None:
    _, wrong = judge([line], starts=2, troubles=5, minutes=2)
    assert [said[: len(start)] for said, start in zip(wrong, noticed, strict=True)] == noticed
