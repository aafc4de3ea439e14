"""Claims in Redis or Valkey: one script call for all keys of a shard."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from redis.asyncio.cluster import RedisCluster

from dedup_service.adapters.redis.calls import RedisClient, Script, all_of, call, infos
from dedup_service.adapters.redis.claim_records import ClaimEncoder
from dedup_service.adapters.redis.lua_constants import ACCOUNTING_CONSTANTS, CLAIM_CONSTANTS, lua
from dedup_service.adapters.redis.marked import Generations, MarkedScript
from dedup_service.adapters.redis.sharding import ShardPart, by_shard, in_order
from dedup_service.adapters.redis.shards import shard_prefix
from dedup_service.adapters.redis.unreadable import Report, log_unreadable, read, readable, report_all, text
from dedup_service.core.accounting import MAX_SOURCES
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import CLAIM_BYTES, HOME, MAX_REPLICAS, OTHER_REPLICA
from dedup_service.errors import ConfigurationError

logger = logging.getLogger(__name__)

FREE = ord("0")
CLAIM_SCRIPT = (
    "marker.lua",
    "marker_ready.lua",
    "set_all.lua",
    "accounting_tables.lua",
    "accounting_gaps.lua",
    "accounting_counts.lua",
    "claim.lua",
)
UNNUMBERED = -1
NEVER = -1
"""In place of a generation."""
CLUSTER_TAGS = 16
"""Enough hash tags that at least two map to different nodes."""


class RedisClaims:
    """Keys are `<namespace>{<tag of the shard>}<digest>`: a script's keys must share a slot where Redis is clustered."""

    def __init__(
        self,
        client: RedisClient,
        *,
        namespace: str,
        shards: int = 1,
        accounting: bool = True,
        max_sources: int = MAX_SOURCES,
        report: Report = log_unreadable,
        generations: Generations | None = None,
    ) -> None:
        """`max_sources`: how many of each group are counted by themselves. `generations`: what is known of the markers; None
        to claim without them."""
        self._client = client
        self._namespace = namespace.encode()
        self._shards = shards
        self._accounting = accounting
        self._report = report
        constants = lua({**CLAIM_CONSTANTS, **ACCOUNTING_CONSTANTS, "SOURCES_PER_SHARD": -(-max_sources // shards)})
        confirm = ("marker.lua", "marker_ready.lua", "set_all.lua", "confirm.lua")
        self._claim = MarkedScript(Script(client, *CLAIM_SCRIPT, head=constants), generations)
        self._confirm = MarkedScript(Script(client, *confirm, head=lua(CLAIM_CONSTANTS)), generations)
        self._replica_number = Script(client, "replica_number.lua")
        self._numbers: dict[tuple[str, str], tuple[int | None, int]] = {}
        """By group and replica, with the generation in which it was told."""
        self._full: dict[str, int | None] = {}
        """Groups without a free number, with the generation in which that was told."""

    def _prefix(self, shard: int) -> bytes:
        return shard_prefix(self._namespace, shard, self._shards)

    def _keys(self, part: ShardPart) -> list[bytes]:
        prefix = self._prefix(part.shard)
        return [prefix + key for _, _, keys in part.pieces for key in keys]

    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        incarnations = b"".join(incarnation.to_bytes(4, "big") for incarnation in live)

        async def claim_part(part: ShardPart, generation: int | None) -> list[bytes | None]:
            keys = self._keys(part)
            args = [incarnations, *self._encoded(part)]
            answer, unreadable = await self._claim(part.shard, keys, args, generation)
            report_all(self._report, unreadable)
            return _claims_found(answer, len(keys))

        parts = by_shard(requests, self._shards)
        # At once: the caller has just decided that it can judge these copies by what is known now.
        generations = [self._claim.generation(part.shard) for part in parts]
        return in_order(parts, await all_of([claim_part(*item) for item in zip(parts, generations, strict=True)]))

    def _encoded(self, part: ShardPart) -> tuple[bytes, bytes]:
        encoder = ClaimEncoder(part.pieces, accounting=self._accounting)
        names = encoder.names(self._prefix(part.shard).decode()) if self._accounting else b""
        return names, encoder.records

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        async def confirm_part(part: ShardPart) -> int:
            claims = [claim for request, readings, _ in part.pieces for claim in request.claims_of(readings)]
            lost, unreadable = await self._confirm(part.shard, self._keys(part), [ttl_ms, b"".join(claims)])
            report_all(self._report, unreadable)
            return int(lost)

        return sum(await all_of([confirm_part(part) for part in by_shard(requests, self._shards)]))

    async def replica_number(self, group: str, replica: str) -> int:
        generation = self._claim.generation(HOME)
        known, number = self._numbers.get((group, replica), (None, UNNUMBERED))
        if number != UNNUMBERED and known == generation:
            return number
        if number == UNNUMBERED and self._full.get(group, NEVER) == generation:
            return OTHER_REPLICA
        key = b"%sreplicas:%s" % (self._prefix(HOME), group.encode())
        answer, unreadable = await self._replica_number([key], [replica, MAX_REPLICAS, number])
        report_all(self._report, unreadable)
        number = int(answer)
        if number == OTHER_REPLICA:
            await self._learn(group, key, generation)
        else:  # Redis may forget it, and allot it to another
            self._numbers[group, replica] = (generation, number)
        return number

    async def _learn(self, group: str, key: bytes, generation: int | None) -> None:
        """All numbers of this group are allotted, and stay so in this generation: who has none is not asked for again."""
        stored: dict[bytes, bytes] = await read(
            self._client, self._report, key, cast("Awaitable[Any]", self._client.hgetall(key)), {}
        )
        for name, packed in stored.items():
            number = readable(int, self._report, key, packed, UNNUMBERED)
            if 0 <= number < OTHER_REPLICA:
                self._numbers[group, text(name)] = (generation, number)
        self._full[group] = generation

    async def ping(self) -> None:
        """Raises UnavailableError."""
        options = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(self._client, RedisCluster) else {}
        await call(self._client, cast("Awaitable[Any]", self._client.ping(**options)))

    async def close(self) -> None:
        await self._client.aclose()


def _claims_found(answer: bytes, keys: int) -> list[bytes | None]:
    claims: list[bytes | None] = []
    at = keys
    for flag in answer[:keys]:
        if flag == FREE:
            claims.append(None)
        else:
            claims.append(answer[at : at + CLAIM_BYTES])
            at += CLAIM_BYTES
    return claims


async def check_eviction(client: RedisClient, *, allowed: bool) -> None:
    """Refuses a Redis that may evict claims, since eviction silently lets duplicates through.

    The policy is read from INFO, because managed Redis forbids CONFIG. Raises ConfigurationError, or UnavailableError.
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
    """Looks up some keys, because a client that takes a cluster for one server fails at the first key of another node.

    INFO is not used, because managed Redis may describe its proxies there. Raises UnavailableError, marked as refused.
    """
    if isinstance(client, RedisCluster):
        await call(client, client.initialize())
        return
    for tag in range(CLUSTER_TAGS):
        await call(client, cast("Awaitable[Any]", client.exists(f"{namespace}{{{tag}}}")))
