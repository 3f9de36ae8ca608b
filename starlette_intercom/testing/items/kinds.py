"""What the families of items share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

Item: TypeAlias = dict[str, Any]
"""``data.item`` as JSON."""

ItemMaker: TypeAlias = Callable[[int], Item]
"""Takes the time of the notification in Unix seconds, returns a fresh item of that time."""

WORKSPACE: Final = "k3v9q0ab"
"""The workspace that all samples are about."""
