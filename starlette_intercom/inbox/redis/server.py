"""Whether a Redis server will keep what it is told to keep; asked at start-up."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import AuthenticationError, ResponseError

from ... import messages
from ...errors import ConfigurationError, InboxUnavailable
from ...messages import logger
from .script import FAILURES, Client, reason_of

OLDEST_REDIS: Final = (6, 2)


async def check_server(client: Client, *, timeout: float, allow_eviction: bool) -> None:
    """Check version, eviction policy and persistence.

    They are read from ``INFO``, which managed services allow where they forbid ``CONFIG``.

    Args:
        client: the way to the server.
        timeout: seconds.
        allow_eviction: warn where the policy may throw deliveries away, instead of refusing.

    Raises:
        ConfigurationError: it would lose deliveries, or is too old, or does not let us in.
        InboxUnavailable: it cannot be reached.
    """
    info = await _info(client, timeout)
    if info is None:
        logger.warning(messages.redis_unchecked())
        return
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers and numbers < OLDEST_REDIS:
        raise ConfigurationError(f"The Redis inbox needs Redis 6.2 or newer, and this server is {version}: upgrade it.")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    # Policies for expiring keys are harmless, since no key of ours expires.
    if policy.startswith("allkeys-"):
        if not allow_eviction:
            raise ConfigurationError(
                f"Redis has maxmemory-policy {policy!r}, which throws accepted notifications away when memory runs "
                "short. Set it to 'noeviction' (CONFIG SET maxmemory-policy noeviction, and in redis.conf), use a "
                "Redis of its own, or take the risk with RedisInbox(…, allow_eviction=True)."
            )
        logger.warning(messages.redis_evicts(policy))
    if not info.get("aof_enabled", 1):
        logger.warning(messages.redis_without_log())


async def _info(client: Client, timeout: float) -> dict[str, Any] | None:
    try:
        async with asyncio.timeout(timeout):
            if isinstance(client, RedisCluster):
                return dict(await client.info(target_nodes=RedisCluster.RANDOM))
            return dict(await client.info())
    except AuthenticationError:
        raise ConfigurationError(
            "Redis asks for another user or password: write them into the inbox's URL, redis://user:password@host:6379."
        ) from None
    except ResponseError:
        return None
    except FAILURES as error:
        raise InboxUnavailable(reason_of(error, timeout)) from None
