"""A long run: mixed traffic, kills, new releases, outages and failing handlers, while somebody watches.

python -m tests.soak.run --minutes 30
python -m tests.soak.run --minutes 10 --inbox redis --rate 5

Two servers share an inbox. In the first half they are killed and restarted as well; in the second half no process is
started, so that what grows is seen. Needs /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.raw_http import get_json

from .account import Account
from .balance import Balance, Run, balance_of, runs_in
from .logs import judge
from .servers import Server
from .settings import RETENTION, TIDY_INTERVAL
from .storage import PLACES, Place
from .traffic import Traffic
from .trouble import Troublemaker
from .watch import Sample, Watch, compared

LONGEST_WORK_OFF = 60.0
"""Seconds until nothing waits any more, after the last request: retries, leases that must end, and some to spare."""
UNFINISHED = ("waiting", "running", "scheduled")
FORGOTTEN_WITHIN = 3 * TIDY_INTERVAL
"""Seconds in which what is older than the retention is erased, also where an outage comes between."""
REST = 12.0
"""Seconds without traffic before processes are compared: idle threads for plain functions end after ten."""


@dataclass(frozen=True)
class Course:
    """How a run went.

    Attributes:
        began: as all times, in seconds of the monotonic clock.
        calm: when the half without kills began, and when it ended.
        ended: when ``stats`` were asked for.
        new: the processes at rest before the traffic.
        old: the processes at rest after it.
        stats: of the inbox, in the end.
        recorded: the contacts whose events arrived at Intercom.
    """

    began: float
    calm: tuple[float, float]
    ended: float
    new: Sequence[Sample]
    old: Sequence[Sample]
    stats: dict[str, int]
    recorded: set[str]


@dataclass
class Report:
    """What a run found.

    Attributes:
        text: all counts.
        wrong: every bound that was broken; empty where all is well.
        account: what was sent and done.
    """

    text: str
    wrong: list[str]
    account: Account

    def __str__(self) -> str:
        verdict = "all is well" if not self.wrong else f"{len(self.wrong)} wrong:\n" + "\n".join(self.wrong[:50])
        return f"{self.text}\n{verdict}"


class Soak:
    """One run.

    Args:
        place: the inbox.
        folder: for logs and the ledger.
        seconds: of traffic; a little more is needed to work off.
        rate: requests per second.
        seed: of all that is random.
    """

    def __init__(self, place: Place, folder: Path, *, seconds: float, rate: float, seed: int) -> None:
        self._place = place
        self._seconds = seconds
        self._ledger = folder / "ledger"
        self._account = Account()
        self._events = Server("tests.soak.fake:app", {}, log=folder / "events.log")
        environ = {
            "INBOX": place.where,
            "LEDGER": str(self._ledger),
            "EVENTS_URL": f"http://127.0.0.1:{self._events.port}",
        }
        self._servers = [
            Server("tests.soak.app:app", environ, log=folder / f"server{number}.log") for number in range(2)
        ]
        chance = random.Random(seed)
        self._traffic = Traffic(self._servers, self._account, chance=random.Random(chance.random()), rate=rate)
        self._troublemaker = Troublemaker(
            self._servers,
            place.outages,
            self._account,
            chance=random.Random(chance.random()),
            pause=min(max(seconds / 40, 2.0), 15.0),
        )
        interval = min(max(seconds / 300, 0.5), 3.0)
        self._watch = Watch(self._servers, place.storage, self._account, interval=interval)

    async def run(self) -> Report:
        """Run, and report."""
        every = [self._events, *self._servers]
        began = monotonic()
        try:
            await self._events.up("/recorded")
            for server in self._servers:
                await server.up()
            new = await self._at_rest(1)
            calm = await self._work()
            await self._work_off()
            old = await self._at_rest(REST)
            await self._watch.collect_dead()
            stats = await get_json(self._servers[0].port, "/stats")
            ended = monotonic()
            recorded = set(await get_json(self._events.port, "/recorded"))
            for server in every:
                await server.down()
        finally:
            for server in every:
                if server.starts:
                    server.kill()
        return self._report(Course(began, calm, ended, new, old, stats, recorded))

    async def _work(self) -> tuple[float, float]:
        """Send and make trouble; return when the half without kills began and ended."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch.run())
            sending = tasks.create_task(self._traffic.run(self._seconds))
            await self._troublemaker.kill_and_restart(self._seconds / 2)
            calm = monotonic()
            await self._troublemaker.only_outages(self._seconds / 2)
            ended = monotonic()
            await sending
            watching.cancel()
        return calm, ended

    async def _at_rest(self, seconds: float) -> Sequence[Sample]:
        """Ask for so long only how they are, and return how they were in the end."""
        until = monotonic() + seconds
        while monotonic() < until:
            for server in self._servers:
                for path in ("/stats", "/dead"):
                    await get_json(server.port, path)
            await asyncio.sleep(0.5)
        return await self._watch.look()

    async def _work_off(self) -> None:
        """Wait until nothing is left to do, but not for ever."""
        until = monotonic() + LONGEST_WORK_OFF
        while monotonic() < until:
            await asyncio.sleep(0.5)
            stats = await get_json(self._servers[0].port, "/stats")
            if stats is not None and not any(stats[name] for name in UNFINISHED):
                return

    def _report(self, course: Course) -> Report:
        account = self._account
        runs = runs_in(self._ledger)
        balance = balance_of(account, runs, refusal_is_certain=self._place.file is not None)
        self._check_inbox(balance, runs, course)
        self._check_events(balance, runs, course)
        grown, growing = self._watch.growth(*course.calm)
        levels, leaking = compared(course.new, course.old)
        minutes = (course.ended - course.began) / 60
        logs = [server.log.read_text() for server in self._servers]
        said, badly = judge(
            logs,
            starts=sum(server.starts for server in self._servers),
            troubles=len(account.troubles),
            minutes=minutes,
        )
        lines = [
            f"{minutes:.1f} minutes on {self._place.where}",
            str(account),
            *(f"{count:7} {name}" for name, count in sorted(balance.counts.items())),
            *balance.odd,
            f"        the inbox in the end: {course.stats}",
            self._watch.table(),
            *grown,
            *levels,
            f"log: {sum(map(len, logs)) / 1024:.0f} KiB, {dict(said)}",
        ]
        return Report("\n".join(lines), [*balance.wrong, *growing, *leaking, *badly], account)

    def _check_inbox(self, balance: Balance, runs: dict[str, list[Run]], course: Course) -> None:
        """Nothing is left to do, and what was over long ago is forgotten."""
        unfinished = {name: course.stats[name] for name in UNFINISHED if course.stats[name]}
        balance.check(not unfinished, f"not worked off: {unfinished}")
        long_ago = course.ended - RETENTION - FORGOTTEN_WITHIN
        recent = sum(
            max([*(one.ended for one in sent.replies), *(one.ended or one.began for one in runs.get(key, ()))])
            > long_ago
            for key, sent in self._account.sent.items()
        )
        known = course.stats["done"] + course.stats["dead"]
        balance.counts["known in the end"] = known
        balance.check(known <= recent, f"{known} are known in the end, and only {recent} are that young")

    def _check_events(self, balance: Balance, runs: dict[str, list[Run]], course: Course) -> None:
        """What was enqueued is at Intercom, or still in the outbox, where that outlives a kill."""
        enqueued = {
            key for key, found in runs.items() if any((one.handler, one.outcome) == ("event", "done") for one in found)
        }
        missing = enqueued - course.recorded
        waiting = missing & self._place.outbox()
        balance.counts["events enqueued"] = len(enqueued)
        balance.counts["events at Intercom"] = len(course.recorded)
        balance.counts["events still in the outbox"] = len(waiting)
        if self._place.file is not None:
            balance.check(missing == waiting, f"{len(missing - waiting)} events were lost")


def soak_test(inbox: str, *, seconds: float, rate: float, seed: int) -> Report:
    """Run one.

    Args:
        inbox: ``sqlite`` or ``redis``.
        seconds: of traffic.
        rate: requests per second.
        seed: of all that is random.
    """
    with tempfile.TemporaryDirectory() as folder, PLACES[inbox](Path(folder)) as place:
        return asyncio.run(Soak(place, Path(folder), seconds=seconds, rate=rate, seed=seed).run())


def main() -> int:
    """Run one, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--inbox", choices=sorted(PLACES), default="sqlite")
    parser.add_argument("--rate", type=float, default=8, help="requests per second")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    report = soak_test(chosen.inbox, seconds=chosen.minutes * 60, rate=chosen.rate, seed=chosen.seed)
    print(report)  # noqa: T201 - a command
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
