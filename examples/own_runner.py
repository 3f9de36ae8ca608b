"""A runner of your own: it decides where and when deliveries are processed. This one takes one after the other.

INTERCOM_CLIENT_SECRET=… uvicorn --app-dir examples own_runner:app
"""

import anyio
from anyio.abc import TaskGroup
from starlette.applications import Starlette
from starlette.middleware import Middleware

from starlette_intercom import Intercom, IntercomMiddleware, Notification, Processor, Runner


class OneByOne(Runner):
    alive = False

    async def start(self, processor: Processor, task_group: TaskGroup) -> None:
        self.alive, self._stopping = True, False
        self._everything, self._waiting, self._ended = anyio.CancelScope(), anyio.CancelScope(), anyio.Event()
        task_group.start_soon(self._work, processor)

    async def drain(self, timeout: float) -> None:
        self._stopping = True
        self._waiting.cancel()
        with anyio.move_on_after(timeout):
            await self._ended.wait()
        self._everything.cancel()  # what still runs gives its delivery back
        await self._ended.wait()

    async def _work(self, processor: Processor) -> None:
        with self._everything:
            async with anyio.create_task_group() as group:
                group.start_soon(processor.keep_leases)  # or another process takes over what runs here
                while not self._stopping:
                    runs = await processor.claim(1)
                    for run in runs:
                        await processor.process(run)  # never raises what a handler does
                    if not runs:
                        with anyio.CancelScope() as self._waiting:
                            await processor.wait(0.5)
                group.cancel_scope.cancel()
        self.alive = False
        self._ended.set()


intercom = Intercom.from_env(runner=OneByOne())


@intercom.on("conversation.user.created")
async def answer(notification: Notification) -> None:
    print(f"{notification.topic} from {notification.app_id}")


app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")])
