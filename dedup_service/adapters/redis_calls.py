"""Calling Redis: scripts from files beside this module, and its errors as this service's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from importlib.resources import files
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from dedup_service.errors import UnavailableError

T = TypeVar("T")

WHAT = "Redis"
WRONG_SERVER = (ReadOnlyError, BusyLoadingError)
"""After a fail-over: the connection leads to a server that is the primary no more, or not yet."""
REFUSED = (AuthenticationError, AuthorizationError)
CONNECTION_LOST = (RedisConnectionError, RedisTimeoutError, OSError, asyncio.TimeoutError)


def connect(url: str, timeout_seconds: float) -> Redis:
    """A client without retries of its own: it would re-send a whole call after a lost reply, at a time of its choosing."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


async def call(client: Redis, answer: Awaitable[T]) -> T:
    """Raises UnavailableError, ambiguous where the reply was lost."""
    try:
        return await answer
    except REFUSED as error:
        raise UnavailableError(WHAT, f"it refused the credentials ({type(error).__name__})", refused=True) from error
    except WRONG_SERVER as error:
        await client.connection_pool.disconnect()
        raise UnavailableError(WHAT, str(error)) from error
    except CONNECTION_LOST as error:
        raise UnavailableError(WHAT, f"no answer ({type(error).__name__})", ambiguous=True) from error
    except RedisError as error:
        raise UnavailableError(WHAT, str(error)) from error


class Script:
    """One Lua script, of one file or several; registered again by itself when Redis has forgotten it."""

    def __init__(self, client: Redis, *names: str) -> None:
        self._client = client
        folder = files(__package__)
        self._script = client.register_script("\n".join(folder.joinpath(name).read_text() for name in names))

    async def __call__(self, keys: list[bytes], args: list[Any]) -> Any:
        """Raises UnavailableError."""
        return await call(self._client, self._script(keys=keys, args=args))
