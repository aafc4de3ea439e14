"""Pods that publish go before pods that only observe, where both read one input hub with one consumer group.

Both may have namespaces of their own, so these keys are in none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, cast

from dedup_service.adapters.redis.calls import RedisClient, call
from dedup_service.adapters.redis.unreadable import log_unreadable, read, readable


class RedisPrecedence:
    def __init__(
        self, client: RedisClient, *, reads: str, publishes: bool, ttl_seconds: float, now_ms: Callable[[], int]
    ) -> None:
        """`reads`: the input hub and the consumer group (`namespace/hub/group`). `ttl_seconds`: for how long a publishing
        pod that says nothing counts as being there."""
        self._client = client
        digest = hashlib.blake2b(reads.lower().encode(), digest_size=8).hexdigest()
        self._publishing, self._observing = f"dedup-publishing:{digest}", f"dedup-observing:{digest}"
        self._publishes = publishes
        self._ttl_ms = int(ttl_seconds * 1000)
        self._now_ms = now_ms

    async def must_wait(self) -> bool:
        if self._publishes:
            await call(self._client, self._client.set(self._publishing, b"1", px=self._ttl_ms))
            return False
        if await call(self._client, self._client.exists(self._publishing)):
            return True
        await call(self._client, self._client.set(self._observing, str(self._now_ms())))
        return False

    async def observed_until_ms(self) -> int | None:
        key = self._observing.encode()
        stored = await read(self._client, log_unreadable, key, cast("Any", self._client.get(key)), None)
        return readable(int, log_unreadable, key, stored, None)
