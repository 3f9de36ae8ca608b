"""An app whose state has another ``intercom``."""

from starlette.applications import Starlette
from starlette.middleware import Middleware

from starlette_intercom import Intercom, IntercomMiddleware

app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=Intercom("a-made-up-client-secret"))])
app.state.intercom = "the intercom at the front door"
