"""Traffic at a fixed rate, from a client that behaves as Intercom does, and from others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from time import monotonic

from starlette_intercom.testing import sample, signed
from starlette_intercom.testing.items import WORKSPACE
from tests.raw_http import NO_ANSWER, Answer, ask, message_of

from .account import Account, Reply, Sent
from .kinds import KINDS
from .servers import Server
from .settings import INTERCOM_GIVES_UP_AFTER, INTERCOM_TRIES_AGAIN_AFTER, SECRET
from .strays import BREAKS_OFF, STRAYS

ONCE, AT_ONCE, LATER = "once", "with a copy at the same time", "with a copy a little later"
SHARES = {ONCE: 61, AT_ONCE: 8, LATER: 8, BREAKS_OFF: 1, **{name: stray.share for name, stray in STRAYS.items()}}


class Traffic:
    """What comes in.

    Args:
        servers: which take turns, as behind a load balancer.
        account: what is sent and answered goes into it.
        chance: of all that is random.
        rate: requests per second, without the copies and second tries.
    """

    def __init__(self, servers: Sequence[Server], account: Account, *, chance: random.Random, rate: float) -> None:
        self._servers = servers
        self._account = account
        self._chance = chance
        self._rate = rate
        self._choices = self._shuffled([choice for choice, share in SHARES.items() for _ in range(share)])
        self._kinds = self._shuffled([name for name, kind in KINDS.items() for _ in range(kind.share)])

    async def run(self, seconds: float) -> None:
        """Send for so long, and wait for the last answers."""
        began = monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(seconds * self._rate)):
                await asyncio.sleep(began + number / self._rate - monotonic())
                tasks.create_task(self._send(next(self._choices)))

    def _shuffled(self, choices: list[str]) -> Iterator[str]:
        """Yield all in a random order, again and again, so that each has its share soon."""
        while True:
            self._chance.shuffle(choices)
            yield from choices

    async def _send(self, choice: str) -> None:
        if choice in STRAYS:
            await self._send_stray(choice)
        elif choice == BREAKS_OFF:
            await self._break_off()
        else:
            await self._send_notification(choice)

    async def _send_notification(self, copies: str) -> None:
        account = self._account
        kind = KINDS[next(self._kinds)]
        sent = Sent(kind, monotonic(), kind.group(self._chance))
        notification = kind.notification(len(account.sent) + 1, sent.group)
        account.sent[f"{WORKSPACE}:{notification['id']}"] = sent
        message = message_of(signed(notification, SECRET))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._deliver(sent, message))
            if copies == AT_ONCE:
                tasks.create_task(self._deliver(sent, message))
            elif copies == LATER:
                await asyncio.sleep(self._chance.uniform(1, 4))
                tasks.create_task(self._deliver(sent, message))

    async def _deliver(self, sent: Sent, message: bytes) -> None:
        """Do as Intercom does: where the answer is 5xx, or there is none, try one more time, later."""
        for first in (True, False):
            began = monotonic()
            reply = Reply.of(await self._ask(message), began)
            sent.replies.append(reply)
            if first and (reply.status == NO_ANSWER or reply.status >= 500):
                await asyncio.sleep(INTERCOM_TRIES_AGAIN_AFTER)
            else:
                return

    async def _send_stray(self, name: str) -> None:
        began = monotonic()
        reply = Reply.of(await self._ask(STRAYS[name].make(self._chance)), began)
        self._account.others[name].append(reply)

    async def _break_off(self) -> None:
        message = message_of(signed(sample("conversation.user.created"), SECRET))
        began = monotonic()
        answer = await ask(self._chance.choice(self._servers).port, message[:-100], timeout=0.2)
        self._account.others[BREAKS_OFF].append(Reply.of(answer, began))

    async def _ask(self, message: bytes) -> Answer:
        """Ask any of the servers; where it takes no connections, another, as a load balancer does."""
        answer = Answer(NO_ANSWER)
        for server in self._chance.sample(self._servers, len(self._servers)):
            answer = await ask(server.port, message, timeout=INTERCOM_GIVES_UP_AFTER)
            if answer.connected:
                break
        return answer
