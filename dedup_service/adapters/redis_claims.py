"""Claims in Redis or Valkey: one script call for all keys of a shard."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis

from dedup_service.adapters.redis_calls import Script, call
from dedup_service.core.claims import MAX_REPLICAS, OTHER_REPLICA
from dedup_service.errors import ConfigurationError
from dedup_service.ports import ClaimRequest

logger = logging.getLogger(__name__)


class RedisClaims:
    """Keys are `<namespace>{<shard>}<digest>`: a script's keys must share a slot where Redis is clustered."""

    def __init__(self, client: Redis, *, namespace: str) -> None:
        self._client = client
        self._namespace = namespace.encode()
        self._claim = Script(client, "claim.lua")
        self._confirm = Script(client, "confirm.lua")
        self._replica_number = Script(client, "replica_number.lua")
        self._numbers: dict[tuple[str, str], int] = {}

    def _key(self, request: ClaimRequest) -> bytes:
        return b"%s{%d}%s" % (self._namespace, request.shard, request.key)

    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        incarnations = b"".join(incarnation.to_bytes(4, "big") for incarnation in live)
        results: list[bytes | None] = [None] * len(requests)
        for indexes in _by_shard(requests):
            chosen = [requests[i] for i in indexes]
            args: list[Any] = [incarnations]
            for request in chosen:
                args += (request.claim, request.ttl_ms)
            found = await self._claim([self._key(request) for request in chosen], args)
            for index, claim in zip(indexes, found, strict=True):
                results[index] = claim or None
        return results

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        lost = 0
        for indexes in _by_shard(requests):
            chosen = [requests[i] for i in indexes]
            args = [ttl_ms, *(request.claim for request in chosen)]
            lost += await self._confirm([self._key(request) for request in chosen], args)
        return lost

    async def replica_number(self, group: str, replica: str) -> int:
        known = self._numbers.get((group, replica))
        if known is None:
            key = b"%s{0}replicas:%s" % (self._namespace, group.encode())
            known = int(await self._replica_number([key], [replica, MAX_REPLICAS]))
            if known != OTHER_REPLICA:
                self._numbers[group, replica] = known
        return known

    async def ping(self) -> None:
        """Raises UnavailableError."""
        await call(self._client, self._client.ping())

    async def close(self) -> None:
        await self._client.aclose()


def _by_shard(requests: Sequence[ClaimRequest]) -> Iterable[list[int]]:
    shards: dict[int, list[int]] = {}
    for index, request in enumerate(requests):
        shards.setdefault(request.shard, []).append(index)
    return shards.values()


async def check_eviction(client: Redis, *, allowed: bool) -> None:
    """Refuse a Redis that may evict claims: eviction lets duplicates through without a word.

    INFO is read because managed Redis forbids CONFIG. Raises ConfigurationError, or UnavailableError.
    """
    info = await call(client, client.info("memory"))
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return
    problem = f"Redis has maxmemory-policy {policy}: it may forget claims, and then duplicates reach the clean stream"
    if not allowed:
        raise ConfigurationError(
            "DEDUP_ALLOW_EVICTION", f"{problem}. Set the policy of Redis to noeviction, or accept duplicates", "true"
        )
    logger.warning("%s; accepted by DEDUP_ALLOW_EVICTION", problem)
