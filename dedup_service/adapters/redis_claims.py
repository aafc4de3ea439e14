"""Claims in Redis or Valkey: one script call for all keys of a shard."""

from __future__ import annotations

import logging
import struct
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, cast

import msgspec
from redis.asyncio.cluster import RedisCluster

from dedup_service.adapters.account_keys import account_prefix, source_digest
from dedup_service.adapters.redis_calls import RedisClient, Script, all_of, call, infos
from dedup_service.core.claims import CLAIM_BYTES, MAX_REPLICAS, OTHER_REPLICA
from dedup_service.errors import ConfigurationError
from dedup_service.ports import ClaimRequest

logger = logging.getLogger(__name__)


RECORD = struct.Struct(f">{CLAIM_BYTES}sdBBHBddH").pack
"""The claim, its TTL in ms, numbers of group, replica and source in this call, flags, sequence, source time in ms, and the
number of the epoch in this call."""
FREE = ord("0")
LATE, COUNTED, TIMED = 1, 2, 4
CLUSTER_TAGS = 16
"""Of so many tags some lie on another node than the first one."""


class RedisClaims:
    """Keys are `<namespace>{<shard>}<digest>`: a script's keys must share a slot where Redis is clustered."""

    def __init__(self, client: RedisClient, *, namespace: str, accounting: bool = True) -> None:
        self._client = client
        self._namespace = namespace.encode()
        self._accounting = accounting
        self._claim = Script(client, "accounting.lua", "claim.lua")
        self._confirm = Script(client, "confirm.lua")
        self._replica_number = Script(client, "replica_number.lua")
        self._numbers: dict[tuple[str, str], int] = {}

    def _keys(self, requests: Sequence[ClaimRequest]) -> list[bytes]:
        """Of requests of one shard."""
        prefix = b"%s{%d}" % (self._namespace, requests[0].shard)
        return [prefix + request.key for request in requests]

    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        incarnations = b"".join(incarnation.to_bytes(4, "big") for incarnation in live)
        results: list[bytes | None] = [None] * len(requests)

        async def claim_shard(indexes: Sequence[int]) -> None:
            chosen = [requests[i] for i in indexes]
            args = [incarnations, *self._records(chosen)]
            answer = await self._claim(self._keys(chosen), args)
            at = len(indexes)
            for index, flag in zip(indexes, answer[:at], strict=True):
                if flag != FREE:
                    results[index] = answer[at : at + CLAIM_BYTES]
                    at += CLAIM_BYTES

        await all_of([claim_shard(indexes) for indexes in _by_shard(requests)])
        return results

    def _records(self, requests: Sequence[ClaimRequest]) -> list[bytes]:
        """What claim.lua wants to know; groups, sources and epochs are named once for all."""
        groups: dict[str, int] = {}
        sources: dict[tuple[str, str], int] = {}
        epochs: dict[str, int] = {}
        records: list[bytes] = []
        for request in requests:
            sequence, time_ms = request.sequence, request.time_ms
            flags = request.late * LATE | (sequence is not None) * COUNTED | (time_ms is not None) * TIMED
            records.append(
                RECORD(
                    request.claim,
                    request.ttl_ms,
                    groups.setdefault(request.group, len(groups) + 1),
                    request.replica,
                    sources.setdefault((request.group, request.source), len(sources) + 1),
                    flags,
                    sequence or 0,
                    time_ms or 0,
                    epochs.setdefault(request.epoch, len(epochs) + 1),
                )
            )
        if not self._accounting:
            return [b"", b"".join(records)]
        named = [[source_digest(group, source), source] for group, source in sources]
        prefix = account_prefix(self._namespace, requests[0].shard)
        return [msgspec.msgpack.encode([prefix, list(groups), named, list(epochs)]), b"".join(records)]

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        async def confirm_shard(indexes: Sequence[int]) -> int:
            chosen = [requests[i] for i in indexes]
            args = [ttl_ms, b"".join([request.claim for request in chosen])]
            return int(await self._confirm(self._keys(chosen), args))

        return sum(await all_of([confirm_shard(indexes) for indexes in _by_shard(requests)]))

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
        options = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(self._client, RedisCluster) else {}
        await call(self._client, cast("Awaitable[Any]", self._client.ping(**options)))

    async def close(self) -> None:
        await self._client.aclose()


def _by_shard(requests: Sequence[ClaimRequest]) -> Iterable[Sequence[int]]:
    if len({request.shard for request in requests}) == 1:
        return [range(len(requests))]
    shards: dict[int, list[int]] = {}
    for index, request in enumerate(requests):
        shards.setdefault(request.shard, []).append(index)
    return shards.values()


async def check_eviction(client: RedisClient, *, allowed: bool) -> None:
    """Refuse a Redis that may evict claims: eviction lets duplicates through without a word.

    INFO is read because managed Redis forbids CONFIG. Raises ConfigurationError, or UnavailableError.
    """
    policies = {str(info.get("maxmemory_policy", "unknown")) for info in await infos(client, "memory")} - {"noeviction"}
    if not policies:
        return
    policy = ", ".join(sorted(policies))
    problem = f"Redis has maxmemory-policy {policy}: it may forget claims, and then duplicates reach the clean stream"
    if not allowed:
        raise ConfigurationError(
            "DEDUP_ALLOW_EVICTION", f"{problem}. Set the policy of Redis to noeviction, or accept duplicates", "true"
        )
    logger.warning("%s; accepted by DEDUP_ALLOW_EVICTION", problem)


async def check_clustering(client: RedisClient, namespace: str) -> None:
    """A client that takes a cluster for one server would fail at the first key that is elsewhere; so some are asked for.

    Not by INFO: what managed Redis says there of its proxies is its own affair. Raises UnavailableError that is refused.
    """
    if isinstance(client, RedisCluster):
        await call(client, client.initialize())
        return
    for tag in range(CLUSTER_TAGS):
        await call(client, cast("Awaitable[Any]", client.get(f"{namespace}{{{tag}}}")))
