"""Web processes take notifications, workers of taskiq run the handlers, and Redis is between them.

Any number of each, on any host. README.md has the commands that run two of each on one machine, and compose.yaml the
same in containers.
"""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from taskiq_redis import RedisStreamBroker

from starlette_intercom import Delivery, Intercom, IntercomMiddleware, Notification
from starlette_intercom.handling.taskiq import TaskiqRunner

REDIS = os.environ.get("INTERCOM_INBOX", "redis://127.0.0.1:6379/0")

broker = RedisStreamBroker(
    REDIS,
    queue_name="intercom",
    maxlen=100_000,  # otherwise the stream grows for ever; what is cut off is handed out again
    unacknowledged_lock_timeout=60,  # otherwise a worker killed at the wrong moment stops all others
    socket_timeout=None,  # otherwise a worker on Python 3.11 may not end on SIGTERM
)
intercom = Intercom.from_env(inbox=REDIS, runner=TaskiqRunner(broker))


@intercom.on("conversation.user.created")
async def answer(notification: Notification, delivery: Delivery) -> None:
    print(f"process {os.getpid()} handles {delivery.id}", flush=True)


app = Starlette(
    routes=[Route("/health", intercom.health_endpoint)],
    middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")],
)
