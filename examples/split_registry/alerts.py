"""Who hears of what goes wrong."""

from starlette_intercom import Failure, HandlerRegistry, Notification

hooks = HandlerRegistry()


@hooks.on_error
async def alert(notification: Notification, failure: Failure) -> None:
    print(f"{failure.handler} failed on {notification.topic}: {failure.message}", flush=True)


@hooks.on_unhandled
async def note(notification: Notification) -> None:
    print(f"nobody handles {notification.topic}", flush=True)
