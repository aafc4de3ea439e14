"""Pods that publish go before pods that only observe, where both read one input hub with one consumer group.

Both may have namespaces of their own, so this key is in none.
"""

from __future__ import annotations

import hashlib

from dedup_service.adapters.redis.calls import RedisClient, call


class RedisPrecedence:
    def __init__(self, client: RedisClient, *, reads: str, publishes: bool, ttl_seconds: float) -> None:
        """`reads`: the input hub and the consumer group (`namespace/hub/group`). `ttl_seconds`: for how long a publishing
        pod that says nothing counts as being there."""
        self._client = client
        self._key = f"dedup-publishing:{hashlib.blake2b(reads.lower().encode(), digest_size=8).hexdigest()}"
        self._publishes = publishes
        self._ttl_ms = int(ttl_seconds * 1000)

    async def must_wait(self) -> bool:
        if self._publishes:
            await call(self._client, self._client.set(self._key, b"1", px=self._ttl_ms))
            return False
        return bool(await call(self._client, self._client.exists(self._key)))
