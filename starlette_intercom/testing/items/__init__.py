"""What ``data.item`` holds for each known topic: shapes as Intercom sends them, values that we made up.

Where nobody outside Intercom has published a real item (calls, jobs, content, and the newest topics), the shape is
that of Intercom's documentation or REST API.
"""

from __future__ import annotations

from typing import Final

from . import activity, content, conversations, legacy, people, tickets
from .kinds import WORKSPACE, Item, ItemMaker

__all__ = ["ITEMS", "WORKSPACE", "Item"]

ITEMS: Final[dict[str, ItemMaker]] = {
    **people.ITEMS,
    **legacy.ITEMS,
    **conversations.ITEMS,
    **tickets.ITEMS,
    **content.ITEMS,
    **activity.ITEMS,
}
"""For each known topic the function that makes its item."""
