"""A SQLite inbox writes when everybody who could come has come, and does not wait for a busy event loop for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from starlette_intercom.inbox.sqlite import SQLiteInbox
from starlette_intercom.inbox.sqlite.event_loop import Waiter
from starlette_intercom.inbox.sqlite.gathering import Gathering
from starlette_intercom.testing.conformance_model import notification_for


class Rounds:
    """An event loop that goes round when it is told to."""

    def __init__(self) -> None:
        self._next: list[Callable[[], None]] = []

    def call_next(self, callback: Callable[[], None]) -> None:
        self._next.append(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        raise NotImplementedError

    def new_waiter(self) -> Waiter:
        raise NotImplementedError

    def go_round(self) -> None:
        callbacks, self._next = self._next, []
        for callback in callbacks:
            callback()


class Scene:
    def __init__(self) -> None:
        self.now = 50.0
        self.rounds = Rounds()
        self.writes = 0
        self.gathering = Gathering(self.rounds, self.write, lambda: self.now)

    def write(self) -> None:
        self.writes += 1

    def rounds_until_write(self) -> int:
        before = self.writes
        for count in range(1, 1000):
            self.rounds.go_round()
            if self.writes > before:
                return count
        raise AssertionError("it never writes")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_writes_after_rounds_in_which_nothing_came(scene: Scene) -> None:
    scene.gathering.came()
    assert scene.writes == 0
    assert scene.rounds_until_write() == 3


def test_what_comes_is_waited_for_again(scene: Scene) -> None:
    for _ in range(5):
        scene.gathering.came()
        scene.rounds.go_round()
        scene.rounds.go_round()
    assert scene.writes == 0
    assert scene.rounds_until_write() == 1


def test_an_event_loop_that_is_never_quiet_is_waited_for_ten_milliseconds(scene: Scene) -> None:
    for _ in range(9):
        scene.gathering.came()
        scene.rounds.go_round()
        scene.now += 0.001
    assert scene.writes == 0
    scene.now += 0.0011
    scene.gathering.came()
    assert scene.rounds_until_write() == 1


def test_what_comes_during_a_write_is_waited_for_afterwards(scene: Scene) -> None:
    scene.gathering.came()
    scene.rounds_until_write()
    for _ in range(5):
        scene.gathering.came()
        scene.rounds.go_round()
    assert scene.writes == 1
    scene.gathering.written(more=True)
    assert scene.rounds_until_write() == 3
    assert scene.writes == 2


def test_after_a_write_during_which_nothing_came_it_rests(scene: Scene) -> None:
    scene.gathering.came()
    scene.rounds_until_write()
    scene.gathering.written(more=False)
    scene.rounds.go_round()
    assert scene.writes == 1
    scene.gathering.came()
    assert scene.rounds_until_write() == 3


@pytest.mark.anyio
async def test_more_than_fits_in_a_transaction(tmp_path: Path) -> None:
    inbox = SQLiteInbox(tmp_path / "inbox.db")
    await inbox.open()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for number in range(1200):
                tasks.start_soon(lambda key: inbox.accept(notification_for(key), key=key), str(number))
    assert (await inbox.stats()).waiting == 1200
    await inbox.close()
