"""Two versions of the code on one inbox: the old one gives back what only the new one handles."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup
from starlette.applications import Starlette

from starlette_intercom import Intercom, Notification, Processor, Retried, Runner, SQLiteInbox, Step
from starlette_intercom.testing import Clock
from tests.asgi import deliver, until
from tests.factories import SECRET, TOPIC, envelope

pytestmark = pytest.mark.anyio


class Idle(Runner):
    """Leaves the work to others."""

    async def start(self, processor: Processor, task_group: TaskGroup) -> None: ...

    async def drain(self, timeout: float) -> None: ...

    @property
    def alive(self) -> bool:
        return True


class Retries:
    """Counts what was scheduled again."""

    def __init__(self) -> None:
        self.count = 0

    def observe(self, step: Step, /) -> None:
        self.count += isinstance(step, Retried)


async def test_what_only_the_new_code_handles_waits_for_it(tmp_path: Path) -> None:
    clock, retries = Clock(), Retries()
    handled: list[int] = []

    def process(**options: object) -> Intercom:
        inbox = SQLiteInbox(tmp_path / "inbox.db", clock=clock)
        return Intercom(SECRET, inbox=inbox, **options)  # type: ignore[arg-type]

    def new_code(intercom: Intercom) -> Intercom:
        @intercom.on(TOPIC, name="new")
        async def handle(notification: Notification) -> None:
            handled.append(notification.created_at)

        return intercom

    accepting = new_code(process(runner=Idle()))
    with anyio.fail_after(30):
        async with accepting.lifespan(Starlette()):
            assert (await deliver(accepting.webhooks, envelope())).json == {"received": True}
            async with process(observers=[retries]).lifespan(Starlette()):  # the old code still runs
                for attempt in range(1, 4):
                    await until(lambda attempt=attempt: retries.count == attempt)  # type: ignore[misc]
                    clock.advance(60)
            stats = await accepting.stats()
            assert (stats.done, stats.dead) == (0, 0)
            async with new_code(process()).lifespan(Starlette()):
                await until(lambda: handled)
            assert (await accepting.stats()).done == 1
    assert len(handled) == 1
