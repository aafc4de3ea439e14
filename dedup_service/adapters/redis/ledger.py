"""Reads what the claim script has counted. Adds up all shards and caches nothing, so every pod gives the same answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import msgspec

from dedup_service.adapters.redis.calls import RedisClient, all_of, call, time_ms
from dedup_service.adapters.redis.ledger_keys import account_prefix, source_digest
from dedup_service.core.accounting import Counts, Gap, SourceHistory, total
from dedup_service.core.claims import key_digest, shard_of, unpack
from dedup_service.core.overview import ReplicaSeen
from dedup_service.ports import SourceSeen, StoredClaim

SOURCE_SECONDS = 86_400
_decode = msgspec.msgpack.Decoder().decode


class RedisLedger:
    def __init__(self, client: RedisClient, *, namespace: str, shards: int) -> None:
        self._client = client
        self._namespace = namespace.encode()
        self._prefixes = [account_prefix(self._namespace, shard) for shard in range(shards)]

    async def now_ms(self) -> int:
        return await time_ms(self._client, self._prefixes[0])

    async def minutes(self, group: str, numbers: Sequence[int]) -> list[Counts]:
        return await self._summed([f"minute:{group}:{number}" for number in numbers])

    async def hours(self, group: str, numbers: Sequence[int]) -> list[Counts]:
        return await self._summed([f"hour:{group}:{number}" for number in numbers])

    async def source_counts(self, group: str, source: str, hours: Sequence[int]) -> Counts:
        digest, prefix = source_digest(group, source), self._prefix_of(source)
        return total(await self._hashes([f"{prefix}:source:{digest}:{hour}" for hour in hours]))

    async def replicas(self, group: str) -> list[ReplicaSeen]:
        names = await self._command("HGETALL", f"{self._prefixes[0]}replicas:{group}")
        seen: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for prefix in self._prefixes:
            for number, packed in (await self._command("HGETALL", f"{prefix}:seen:{group}")).items():
                enqueued_ms, processed_ms = _decode(packed)
                before = seen[int(number)]
                seen[int(number)] = (max(before[0], int(enqueued_ms)), max(before[1], int(processed_ms)))
        ordered = sorted((int(number), name.decode()) for name, number in names.items())
        return [ReplicaSeen(name, number, *seen[number]) for number, name in ordered]

    async def sources(self, group: str) -> list[SourceSeen]:
        found: list[SourceSeen] = []
        oldest = await self.now_ms() - SOURCE_SECONDS * 1000
        for prefix in self._prefixes:
            key = f"{prefix}:sources:{group}"
            await self._command("ZREMRANGEBYSCORE", key, "-inf", oldest)
            members = await self._command("ZRANGE", key, 0, -1, withscores=True)
            found += [SourceSeen(source.decode(), int(at)) for source, at in members]
        return sorted(found, key=lambda item: item.source)

    async def gaps(self, group: str) -> list[tuple[str, SourceHistory]]:
        found = []
        for prefix in self._prefixes:
            sources = [source.decode() for source in await self._command("ZRANGE", f"{prefix}:gapped:{group}", 0, -1)]
            pipeline = self._client.pipeline(transaction=False)
            for source in sources:
                pipeline.get(f"{prefix}:gaps:{source_digest(group, source)}")
            histories = await call(self._client, pipeline.execute())
            found += [(s, _history(_decode(packed))) for s, packed in zip(sources, histories, strict=True) if packed]
        return sorted(found, key=lambda item: item[0])

    async def find(self, claim_scope: str, source: str, reading_id: str) -> StoredClaim | None:
        shard = shard_of(source, len(self._prefixes))
        key = b"%s{%d}%s" % (self._namespace, shard, key_digest(claim_scope, source, reading_id))
        claim, ttl_ms = await self._command("GET", key), await self._command("PTTL", key)
        return StoredClaim(unpack(claim), max(0, int(ttl_ms))) if claim else None

    def _prefix_of(self, source: str) -> str:
        return self._prefixes[shard_of(source, len(self._prefixes))]

    async def _command(self, name: str, *arguments: Any, **options: Any) -> Any:
        method = getattr(self._client, name.lower())
        return await call(self._client, cast("Awaitable[Any]", method(*arguments, **options)))

    async def _summed(self, names: list[str]) -> list[Counts]:
        """For each name, the counts of all shards together."""
        by_shard = await all_of([self._hashes([f"{prefix}:{name}" for name in names]) for prefix in self._prefixes])
        return [total(counts) for counts in zip(*by_shard, strict=True)]

    async def _hashes(self, keys: list[str]) -> list[Counts]:
        """Takes one round trip. All keys must be of one shard."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        hashes = await call(self._client, pipeline.execute())
        return [{name.decode(): int(n) for name, n in fields.items() if name != b"t"} for fields in hashes]


def _history(epochs: list[Any]) -> SourceHistory:
    gaps = [
        Gap(_text(epoch[0]), int(first), int(last), int(found_ms)) for epoch in epochs for first, last, found_ms in epoch[2]
    ]
    return SourceHistory(gaps, sum(int(epoch[3]) for epoch in epochs))


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
