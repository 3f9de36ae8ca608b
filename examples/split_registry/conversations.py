"""What happens to conversations."""

from starlette_intercom import HandlerRegistry, Notification

handlers = HandlerRegistry()


@handlers.on("conversation.user.created", "conversation.user.replied")
async def answer(notification: Notification) -> None:
    print(f"{notification.topic}: {notification.item['id']}", flush=True)


# Its name is what the inbox remembers it by: give it one, and the function may be moved and renamed.
@handlers.on("conversation.admin.closed", name="archive", retries=8, timeout=30)
async def archive(notification: Notification) -> None:
    print(f"archived {notification.item['id']}", flush=True)
