"""Without middleware: the webhooks as a route or a mount, and a lifespan of your own beside the library's.

    INTERCOM_CLIENT_SECRET=… uvicorn --app-dir examples mounted:app

Then give Intercom one of the two addresses: https://your-host/webhooks/intercom is the route. The mount's ends with a
slash, https://your-host/hooks/, since Starlette answers the one without with a redirect.
"""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from starlette_intercom import Intercom, Notification, compose_lifespans

intercom = Intercom.from_env()


@intercom.on("conversation.user.created")
async def remember(notification: Notification) -> None:
    database: sqlite3.Connection = app.state.database
    with database:
        # A handler may run twice for one notification: replace, rather than add.
        database.execute(
            "INSERT OR REPLACE INTO conversation VALUES (?, ?)", (notification.item["id"], notification.created_at)
        )


@asynccontextmanager
async def database(app: Starlette) -> AsyncIterator[None]:
    app.state.database = sqlite3.connect("conversations.db")
    app.state.database.execute("CREATE TABLE IF NOT EXISTS conversation (id TEXT PRIMARY KEY, created_at INTEGER)")
    yield
    app.state.database.close()


app = Starlette(
    routes=[
        Route("/webhooks/intercom", intercom.webhooks),
        Mount("/hooks", intercom.webhooks),
    ],
    # Starlette runs no lifespan of what is mounted. Yours goes first: handlers use it until they have finished.
    lifespan=compose_lifespans(database, intercom.lifespan),
)
