"""FastAPI: notifications come in by the middleware, endpoints get the Intercom as a dependency.

    INTERCOM_CLIENT_SECRET=… uvicorn --app-dir examples fastapi_app:app

Then give Intercom the address https://your-host/webhooks/intercom, in the Developer Hub under Webhooks.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI

from starlette_intercom import Intercom, IntercomMiddleware, Notification, get_intercom

intercom = Intercom.from_env()


@intercom.on("conversation.user.created")
async def answer(notification: Notification) -> None:
    print(f"conversation {notification.item['id']} has begun", flush=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # Open here what your handlers use: it stays open until the last of them has finished.
    yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")


@app.get("/backlog")
async def backlog(intercom: Annotated[Intercom, Depends(get_intercom)]) -> dict[str, int]:
    stats = await intercom.stats()
    return {"waiting": stats.waiting, "running": stats.running, "dead": stats.dead}
