"""What happens to contacts."""

from starlette_intercom import Backoff, HandlerRegistry, Notification, Reject

handlers = HandlerRegistry()


@handlers.on("contact.user.created", "contact.lead.created", backoff=Backoff(base=2, cap=600))
def sync_crm(notification: Notification) -> None:
    if not notification.item.get("email"):
        raise Reject("a contact without an email address")  # trying again would not help
    print(f"synced contact {notification.item['id']}", flush=True)
