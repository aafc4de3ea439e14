"""Claims in Redis or Valkey: one script call for all keys of a shard."""

from __future__ import annotations

import logging
import struct
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import msgspec
from redis.asyncio.cluster import RedisCluster

from dedup_service.adapters.account_keys import account_prefix, source_digest
from dedup_service.adapters.redis_calls import RedisClient, Script, all_of, call, infos
from dedup_service.adapters.sharding import ShardPart, by_shard, in_order
from dedup_service.core.accounting import sequence_number
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import CLAIM_BYTES, MAX_REPLICAS, OTHER_REPLICA
from dedup_service.core.extract import CONTENT_HASH_BYTES
from dedup_service.core.times import source_time_ms
from dedup_service.errors import ConfigurationError

logger = logging.getLogger(__name__)


HEAD = struct.Struct(">IHQHIdHBH").pack
"""Of an event: incarnation, partition, sequence number, enqueued time in ms (6 bytes), the claims' TTL in ms, the numbers of
group and replica, and how many readings follow."""
RECORD = struct.Struct(f">H{CONTENT_HASH_BYTES}sHBddH").pack
"""Of a reading: index, content hash, the source's number in this call, flags, sequence, source time in ms, and the epoch's
number in this call."""
FREE = ord("0")
LATE, COUNTED, TIMED = 1, 2, 4
CLUSTER_TAGS = 16
"""Of so many tags some lie on another node than the first one."""


class Numbers(dict[str, int]):
    """Names, numbered from 1 in the order in which they are first asked for."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self) + 1
        return number


class SourceNumbers(dict[str, int]):
    """A group's sources, numbered together with those of the other groups of a call."""

    def __init__(self, group: str, named: list[tuple[str, str]]) -> None:
        self._group = group
        self._named = named

    def __missing__(self, source: str) -> int:
        self._named.append((source_digest(self._group, source), source))
        self[source] = number = len(self._named)
        return number


class RedisClaims:
    """Keys are `<namespace>{<shard>}<digest>`: a script's keys must share a slot where Redis is clustered."""

    def __init__(self, client: RedisClient, *, namespace: str, shards: int = 1, accounting: bool = True) -> None:
        self._client = client
        self._namespace = namespace.encode()
        self._shards = shards
        self._accounting = accounting
        self._claim = Script(client, "accounting.lua", "claim.lua")
        self._confirm = Script(client, "confirm.lua")
        self._replica_number = Script(client, "replica_number.lua")
        self._numbers: dict[tuple[str, str], int] = {}

    def _keys(self, part: ShardPart) -> list[bytes]:
        prefix = b"%s{%d}" % (self._namespace, part.shard)
        return [prefix + key for request in part.requests for key in request.keys]

    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        incarnations = b"".join(incarnation.to_bytes(4, "big") for incarnation in live)

        async def claim_part(part: ShardPart) -> list[bytes | None]:
            keys = self._keys(part)
            return _found(await self._claim(keys, [incarnations, *self._told(part)]), len(keys))

        parts = by_shard(requests, self._shards)
        return in_order(parts, await all_of([claim_part(part) for part in parts]))

    def _told(self, part: ShardPart) -> tuple[bytes, bytes]:
        """What claim.lua wants to know; groups, sources and epochs are named once for all."""
        groups, epochs = Numbers(), Numbers()
        sources: dict[str, SourceNumbers] = {}
        named: list[tuple[str, str]] = []
        told: list[bytes] = []
        for request in part.requests:
            event, readings = request.event, request.readings
            enqueued_ms, group = request.enqueued_ms, groups[request.group]
            told.append(
                HEAD(
                    event.incarnation,
                    event.partition,
                    event.sequence_number,
                    enqueued_ms >> 32,
                    enqueued_ms & 0xFFFFFFFF,
                    request.ttl_ms,
                    group,
                    request.replica,
                    len(readings),
                )
            )
            own = sources.setdefault(request.group, SourceNumbers(request.group, named))
            told += _records(request, own, epochs)
        if not self._accounting:
            return b"", b"".join(told)
        prefix = account_prefix(self._namespace, part.shard)
        return msgspec.msgpack.encode([prefix, list(groups), named, list(epochs)]), b"".join(told)

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        async def confirm_part(part: ShardPart) -> int:
            claims = [claim for request in part.requests for claim in request.claims()]
            return int(await self._confirm(self._keys(part), [ttl_ms, b"".join(claims)]))

        return sum(await all_of([confirm_part(part) for part in by_shard(requests, self._shards)]))

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


def _records(request: ClaimRequest, sources: SourceNumbers, epochs: Numbers) -> list[bytes]:
    late, is_timed, record = request.late, request.is_timed, RECORD
    records: list[bytes] = []
    for reading in request.readings:
        sequence = sequence_number(reading.sequence)
        flags = 0 if sequence is None else COUNTED
        if late and reading.index in late:
            flags |= LATE
        time_ms = source_time_ms(reading.time) if is_timed else None
        if time_ms is not None:
            flags |= TIMED
        source, epoch = sources[reading.source], epochs[reading.epoch or ""]
        records.append(record(reading.index, reading.content_hash, source, flags, sequence or 0, time_ms or 0, epoch))
    return records


def _found(answer: bytes, keys: int) -> list[bytes | None]:
    found: list[bytes | None] = []
    at = keys
    for flag in answer[:keys]:
        if flag == FREE:
            found.append(None)
        else:
            found.append(answer[at : at + CLAIM_BYTES])
            at += CLAIM_BYTES
    return found


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
