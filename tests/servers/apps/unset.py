"""An app whose settings are missing."""

from starlette.applications import Starlette
from starlette.middleware import Middleware

from starlette_intercom import Intercom, IntercomMiddleware

app = Starlette(middleware=[Middleware(IntercomMiddleware, intercom=Intercom.from_env({}))])
