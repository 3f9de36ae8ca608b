"""Handlers in modules of their own, put together in one app.

    INTERCOM_CLIENT_SECRET=… uvicorn --app-dir examples split_registry.app:app

The modules know nothing of the app, so that they can be tested and moved without it.
"""
