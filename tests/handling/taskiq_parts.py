"""An Intercom whose handlers run in taskiq workers: built by the tests as a web process, and by the workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import msgspec
from nats.js.api import StreamConfig
from taskiq import AsyncBroker
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue
from taskiq_nats import PullBasedJetStreamBroker
from taskiq_redis import RedisStreamBroker

from starlette_intercom import Backoff, Delivery, Intercom, Notification
from starlette_intercom.handling.taskiq import TaskiqRunner
from starlette_intercom.inbox.redis import RedisInbox

TOPIC = "contact.user.created"


class Settings(msgspec.Struct, frozen=True):
    """What web process and workers agree on."""

    broker_url: str
    inbox_url: str
    queue: str
    log: str


def broker_of(settings: Settings) -> AsyncBroker:
    if settings.broker_url.startswith("amqp"):
        return AioPikaBroker(
            settings.broker_url,
            exchange=Exchange(name=settings.queue),
            task_queues=[Queue(name=settings.queue)],
            dead_letter_queue=Queue(name=f"{settings.queue}.dead"),
        )
    if settings.broker_url.startswith("nats"):
        return PullBasedJetStreamBroker(
            settings.broker_url,
            subject=settings.queue,
            stream_name=settings.queue,
            durable=settings.queue,
            pull_consume_timeout=0.2,
            stream_config=StreamConfig(max_msgs=1000),
        )
    return RedisStreamBroker(
        settings.broker_url,
        queue_name=settings.queue,
        consumer_id="0",
        maxlen=1000,
        unacknowledged_lock_timeout=5,
        xread_block=200,
        idle_timeout=500,
        socket_timeout=None,  # with one, Python 3.11 may swallow the cancellation that ends a worker
    )


def build(settings: Settings, *, again_after: float = 1.0) -> Intercom:
    """Make an Intercom with one handler, which writes into the log what it does."""
    intercom = Intercom(
        client_secret="made up",
        inbox=RedisInbox(settings.inbox_url, timeout=1),
        runner=TaskiqRunner(broker_of(settings), again_after=again_after),
        lease=2,
        drain_timeout=5,
    )
    log = Path(settings.log)

    def note(what: str, delivery: Delivery) -> None:
        with log.open("a") as file:
            file.write(f"{what} {delivery.id} {os.getpid()}\n")

    @intercom.on(TOPIC, retries=2, backoff=Backoff(base=0.01, cap=0.01))
    async def handle(notification: Notification[Any], delivery: Delivery) -> None:
        note("began", delivery)
        if delivery.id.startswith("failing"):
            raise ValueError("as asked for")
        while delivery.id.startswith("held") and not log.with_suffix(".go").exists():
            await anyio.sleep(0.05)
        note("ended", delivery)

    return intercom
