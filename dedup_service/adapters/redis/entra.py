"""Redis with Entra ID: the token is the password, and live connections get the next one before it expires.

redis-entraid does the same, but requests tokens with blocking calls inside the event loop, which would stop all partitions
meanwhile, and it stops renewing after one failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from azure.core.exceptions import AzureError
from redis.auth.token import JWToken
from redis.credentials import StreamingCredentialProvider
from redis.exceptions import RedisError

from dedup_service.adapters.azure_errors import problem

logger = logging.getLogger(__name__)

SCOPE = "https://redis.azure.com/.default"
BEFORE_EXPIRY_SECONDS = 200.0
"""Less than 300 s: until then the identity library still returns the old token."""
RETRY_SECONDS = 10.0
MIN_INTERVAL_SECONDS = 1.0


class EntraCredentials(StreamingCredentialProvider):
    """The user name is the identity's object id, as Azure's Redis requires."""

    def __init__(self, credential: Any) -> None:
        """`credential`: one of azure.identity.aio."""
        self._credential = credential
        self._on_next: Callable[[JWToken], Awaitable[None]] | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def get_credentials_async(self) -> tuple[str, str]:
        """User name and token for a new connection. Raises AzureError."""
        token = await self._credential.get_token(SCOPE)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(token.expires_on))
        return str(JWToken(token.token).try_get("oid")), token.token

    async def _renew(self, expires_on: float) -> None:
        while True:
            left = expires_on - time.time()
            await asyncio.sleep(max(left - BEFORE_EXPIRY_SECONDS, left / 2, MIN_INTERVAL_SECONDS))
            try:
                token = await self._credential.get_token(SCOPE)
            except AzureError as error:
                logger.warning("no new token for Redis; its connections end with the old one: %s", problem(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            expires_on = token.expires_on
            await self._hand_on(JWToken(token.token))

    async def _hand_on(self, token: JWToken) -> None:
        """Passes the token to the live connections. One that fails here ends, and its successor starts with the new
        token."""
        if self._on_next is None:
            return
        try:
            await self._on_next(token)
        except (RedisError, OSError) as error:
            logger.warning("a connection to Redis did not accept its new token: %s", problem(error))

    def on_next(self, callback: Callable[[Any], Any]) -> None:
        self._on_next = callback

    def on_error(self, callback: Callable[[Exception], Any]) -> None:
        """Not needed: a connection whose token has expired reports that itself."""

    def is_streaming(self) -> bool:
        return self._renewing is not None

    def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
