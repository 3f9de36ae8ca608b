"""The inbox in Redis, for several hosts."""

from .inbox import RedisInbox

__all__ = ["RedisInbox"]
