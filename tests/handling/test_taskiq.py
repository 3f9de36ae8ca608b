"""Handlers in the workers of taskiq: over Redis Streams, NATS and RabbitMQ, with real workers that are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from uuid import uuid4

import aio_pika
import anyio
import msgspec
import nats
import pytest
from nats.js.api import RetentionPolicy, StreamConfig
from taskiq import InMemoryBroker
from taskiq.events import TaskiqEvents
from taskiq_nats import NatsBroker, PullBasedJetStreamBroker, PushBasedJetStreamBroker
from taskiq_redis import RedisStreamBroker

from starlette_intercom import Backoff, ConfigurationError, Intercom, MemoryInbox
from starlette_intercom.handling.taskiq import TASK_NAME, TaskiqRunner
from starlette_intercom.testing.conformance_model import notification_for
from tests.nats_process import nats_process
from tests.redis_process import RedisProcess, require_redis

from .taskiq_parts import TOPIC, Settings, broker_of, build

pytestmark = pytest.mark.anyio

RABBITMQ = os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
_numbers = count()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as taskiq


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    require_redis()
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(params=["redis", "nats", "rabbitmq"])
async def settings(request: pytest.FixtureRequest, server: RedisProcess, tmp_path: Path) -> AsyncIterator[Settings]:
    """A broker of each kind, with an empty queue and an empty inbox."""
    name = f"starlette-intercom-{uuid4()}"
    inbox_url = server.url[:-1] + str(next(_numbers) % 16)
    server.client().flushall()
    if request.param == "redis":
        yield Settings(server.url, inbox_url, name, str(tmp_path / "log"))
        return
    if request.param == "nats":
        with nats_process(tmp_path) as url:
            yield Settings(url, inbox_url, name, str(tmp_path / "log"))
        return
    try:
        socket.create_connection(("127.0.0.1", 5672), timeout=2).close()
    except OSError:
        pytest.skip("no RabbitMQ on 127.0.0.1:5672: install it (apt-get install rabbitmq-server) or set TEST_AMQP_URL")
    yield Settings(RABBITMQ, inbox_url, name, str(tmp_path / "log"))
    async with await aio_pika.connect(RABBITMQ) as connection:
        channel = await connection.channel()
        for queue in (name, f"{name}.dead"):
            await channel.queue_delete(queue)
        await channel.exchange_delete(name)


@contextmanager
def workers(settings: Settings, number: int = 2) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "taskiq", "worker", "tests.handling.taskiq_app:broker"]
    command += ["--workers", str(number), "--log-level", "WARNING", "--shutdown-timeout", "10"]
    environment = {**os.environ, "TASKIQ_SETTINGS": msgspec.json.encode(settings).decode(), "PYTHONPATH": "."}
    process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2], start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
            if settings.broker_url.startswith("redis") or sys.version_info >= (3, 12):
                raise  # on Python 3.11, the libraries of the other brokers may swallow the cancellation


@asynccontextmanager
async def web_process(settings: Settings) -> AsyncIterator[Intercom]:
    intercom = build(settings)
    async with intercom.lifespan(None):
        yield intercom


async def accept(intercom: Intercom, *keys: str) -> None:
    for key in keys:
        assert await intercom.inbox.accept(notification_for("a", topic=TOPIC), key=key)


def log_of(settings: Settings) -> Sequence[tuple[str, str, int]]:
    path = Path(settings.log)
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(what, key, int(pid)) for what, key, pid in lines]


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(40):
        while not condition():
            await anyio.sleep(0.05)


async def until_done(intercom: Intercom, number: int) -> None:
    with anyio.fail_after(40):
        while (await intercom.stats()).done < number:
            await anyio.sleep(0.05)


def ended(settings: Settings) -> list[str]:
    return sorted(key for what, key, _ in log_of(settings) if what == "ended")


async def test_workers_complete_each_once_and_what_fails_ends_in_the_dead_letters(settings: Settings) -> None:
    keys = [f"key-{number:03}" for number in range(60)]
    async with web_process(settings) as intercom:
        await accept(intercom, *keys[:20], "failing")
        with workers(settings):
            await accept(intercom, *keys[20:])
            await until_done(intercom, 60)
            with anyio.fail_after(30):
                while not (letters := await intercom.dead_letters.list()):
                    await anyio.sleep(0.05)
        assert [(letter.id, letter.attempts) for letter in letters] == [("failing", 3)]
    assert ended(settings) == keys
    assert os.getpid() not in {pid for *_, pid in log_of(settings)}, "a handler ran in the web process"


async def test_a_worker_killed_in_a_handler_is_replaced_by_another(settings: Settings) -> None:
    async with web_process(settings) as intercom:
        with workers(settings):
            await accept(intercom, "held")
            await until(lambda: bool(log_of(settings)))
            (victim,) = {pid for *_, pid in log_of(settings)}
            os.kill(victim, signal.SIGKILL)
            Path(settings.log).with_suffix(".go").touch()
            await accept(intercom, "after")
            await until_done(intercom, 2)
    assert ended(settings) == ["after", "held"]
    assert [(key, pid == victim) for what, key, pid in log_of(settings) if (what, key) == ("began", "held")] == [
        ("held", True),
        ("held", False),
    ]


async def test_a_handler_that_runs_for_longer_than_everything_is_not_run_twice(settings: Settings) -> None:
    """Longer than its lease, than the engine waits for an acknowledgement, and than ids are handed out again."""
    async with web_process(settings) as intercom:
        with workers(settings):
            await accept(intercom, "held")
            await until(lambda: bool(log_of(settings)))
            for number in range(25):
                await accept(intercom, f"other-{number}")
                await anyio.sleep(0.1)
            Path(settings.log).with_suffix(".go").touch()
            await until_done(intercom, 26)
    assert [key for what, key, _ in log_of(settings) if what == "began"].count("held") == 1


async def test_what_the_broker_lost_is_handed_out_again(settings: Settings, server: RedisProcess) -> None:
    async with web_process(settings) as intercom:
        await accept(intercom, "a", "b")
        with anyio.fail_after(20):
            while not await _lose_all(settings, server):
                await anyio.sleep(0.05)
        with workers(settings, 1):
            await until_done(intercom, 2)
    assert ended(settings) == ["a", "b"]


async def _lose_all(settings: Settings, server: RedisProcess) -> bool:
    if settings.broker_url.startswith("redis"):
        return bool(server.client().xtrim(settings.queue, maxlen=0, approximate=False))
    if settings.broker_url.startswith("nats"):
        async with await nats.connect(settings.broker_url) as client:
            stream = client.jetstream()
            try:
                info = await stream.stream_info(settings.queue)
            except nats.js.errors.NotFoundError:
                return False
            assert info.config.max_msgs == 1000  # it is bounded at the server
            return bool(info.state.messages) and await stream.purge_stream(settings.queue)
    async with await aio_pika.connect(settings.broker_url) as connection:
        channel = await connection.channel()
        try:
            queue = await channel.get_queue(settings.queue)
            return bool((await queue.purge()).message_count)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False


async def test_workers_without_a_web_process_find_what_waits(settings: Settings) -> None:
    inbox = build(settings).inbox
    await inbox.open()
    await inbox.accept(notification_for("a", topic=TOPIC), key="a")
    await inbox.close()
    with workers(settings, 1):
        await until(lambda: ended(settings) == ["a"])


async def test_while_the_broker_is_away_notifications_are_accepted(
    server: RedisProcess, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path_factory.mktemp("broker")
    with RedisProcess(directory) as broker:
        settings = Settings(broker.url, server.url, "intercom", str(directory / "log"))
        server.client().flushall()
        broker.kill()
        async with web_process(settings) as intercom:
            await accept(intercom, "a", "b")
            await until(lambda: "broker cannot be reached" in caplog.text)
            broker.start()
            with workers(settings, 1):
                await until_done(intercom, 2)
            assert "handed to the task broker again" in caplog.text


async def in_process(intercom: Intercom, *keys: str) -> None:
    async with intercom.lifespan(None):
        await accept(intercom, *keys)
        with anyio.fail_after(20):
            while (stats := await intercom.stats()).waiting + stats.running + stats.scheduled:
                await anyio.sleep(0.01)


async def test_a_broker_with_its_workers_in_this_process_works_too() -> None:
    runner = TaskiqRunner(InMemoryBroker())
    intercom = Intercom(client_secret="made up", inbox=MemoryInbox(), runner=runner)
    seen: list[str] = []

    @intercom.on(TOPIC, retries=1, backoff=Backoff(base=0.01))
    async def handle() -> None:
        seen.append(TOPIC)
        if len(seen) == 1:
            raise ValueError("only once")

    for start in range(2):
        await in_process(intercom, f"a{start}", f"b{start}")
        assert not runner.alive
    assert len(seen) == 5


async def test_what_still_runs_when_the_app_stops_is_released() -> None:
    began = anyio.Event()
    inbox = MemoryInbox()
    intercom = Intercom(client_secret="made up", inbox=inbox, runner=TaskiqRunner(InMemoryBroker()), drain_timeout=0)

    @intercom.on(TOPIC)
    async def handle() -> None:
        began.set()
        await anyio.sleep_forever()

    async with intercom.lifespan(None):
        await accept(intercom, "a")
        await began.wait()
    (claim,) = await inbox.claim(1, lease=30)
    assert (claim.delivery.attempt, claim.recovered) == (1, False)


async def test_an_id_that_is_delivered_twice_runs_once() -> None:
    broker = InMemoryBroker()
    intercom = Intercom(client_secret="made up", inbox=MemoryInbox(), runner=TaskiqRunner(broker))
    seen: list[str] = []

    @intercom.on(TOPIC)
    async def handle() -> None:
        seen.append(TOPIC)

    async with intercom.lifespan(None):
        await accept(intercom, "a")
        task = broker.find_task(TASK_NAME)
        assert task is not None
        for _ in range(3):
            result = await (await task.kiq("a")).wait_result(timeout=10)
            assert not result.is_err
    assert seen == [TOPIC]


def test_streams_that_would_stop_or_grow_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="unacknowledged_lock_timeout"):
        TaskiqRunner(RedisStreamBroker("redis://127.0.0.1", maxlen=1000))
    with pytest.raises(ConfigurationError, match="maxlen"):
        TaskiqRunner(RedisStreamBroker("redis://127.0.0.1", unacknowledged_lock_timeout=60))
    for config in (None, StreamConfig(max_msgs=-1, max_age=0), StreamConfig(retention=RetentionPolicy.LIMITS)):
        with pytest.raises(ConfigurationError, match="max_msgs"):
            TaskiqRunner(PushBasedJetStreamBroker("nats://127.0.0.1", stream_config=config))
    for config in (StreamConfig(max_bytes=10**8), StreamConfig(retention=RetentionPolicy.WORK_QUEUE)):
        TaskiqRunner(PullBasedJetStreamBroker("nats://127.0.0.1", stream_config=config))
    TaskiqRunner(NatsBroker("nats://127.0.0.1"))  # keeps nothing
    with pytest.raises(ConfigurationError, match="again_after"):
        TaskiqRunner(InMemoryBroker(), again_after=0)


async def test_a_worker_without_an_intercom_does_not_start() -> None:
    broker = broker_of(Settings("redis://127.0.0.1", "", "queue", ""))
    TaskiqRunner(broker)
    broker.is_worker_process = True
    (started,) = broker.event_handlers[TaskiqEvents.WORKER_STARTUP]
    with pytest.raises(ConfigurationError, match="belongs to no Intercom"):
        await started(broker.state)  # type: ignore[misc]


async def test_on_trio_it_says_that_it_needs_asyncio() -> None:
    intercom = Intercom(client_secret="made up", runner=TaskiqRunner(InMemoryBroker()))

    async def start() -> None:
        async with intercom.lifespan(None):
            pass

    def run() -> None:
        with pytest.raises(ConfigurationError, match="asyncio only"):
            anyio.run(start, backend="trio")

    await anyio.to_thread.run_sync(run)
