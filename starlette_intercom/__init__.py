"""Receive Intercom webhooks and send Intercom data events, on any ASGI app."""
