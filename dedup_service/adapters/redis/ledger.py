"""Reads what the claim script has counted. Adds up all shards and caches nothing, so every pod gives the same answer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec

from dedup_service.adapters.redis.calls import RedisClient, Script, all_of, time_ms
from dedup_service.adapters.redis.ledger_keys import source_digest
from dedup_service.adapters.redis.marked import marker_key
from dedup_service.adapters.redis.shards import shard_prefix
from dedup_service.adapters.redis.unreadable import (
    Report,
    log_unreadable,
    number_of,
    read,
    read_each,
    readable,
    report_all,
    text,
)
from dedup_service.core.accounting import KNOWN_LAGS, SOURCE_SECONDS, Counts, Gap, SourceHistory, total
from dedup_service.core.claims import HOME, OTHER_NAME, OTHER_REPLICA, claim_shards, key_digest, shard_of, unpack
from dedup_service.core.overview import ReplicaSeen
from dedup_service.ports.accounting import SourceSeen, StoredClaim

PAGE = 1_000
"""Names that are read at once."""
HASHES_AT_ONCE = 4
"""A group's counts of an hour may be some thousand; between two answers the loop is left to others."""
NO_NUMBER = -1
NOT_COUNTS = (b"c", b"t")
"""Begin the fields of a source's hash that hold contents and times of its last readings, for the script."""
_known_name = lru_cache(KNOWN_LAGS)(text)
"""Counters have the same names in all groups and hours."""
_decode_times = msgspec.msgpack.Decoder(tuple[float, float]).decode


class _Epoch(msgspec.Struct, array_like=True, frozen=True):
    """As accounting_gaps.lua keeps it."""

    name: str
    next: int
    gaps: list[tuple[int, int, int]]
    forgotten: int
    start: int
    generation_since: int = 0
    """`since` of the shard's marker when a number was last followed. Older versions did not keep it."""


_decode_sums = msgspec.msgpack.Decoder(list[list[Any]], strict=False).decode
_decode_epochs = msgspec.msgpack.Decoder(list[_Epoch], strict=False).decode


def _times(packed: bytes) -> tuple[int, int]:
    first, second = _decode_times(packed)
    return int(first), int(second)


class RedisLedger:
    def __init__(self, client: RedisClient, *, namespace: str, shards: int, report: Report = log_unreadable) -> None:
        self._client = client
        self._report = report
        self._namespace = namespace.encode()
        self._sums = Script(client, "sums.lua")
        self._shards = shards
        self._home = self._prefix(HOME)
        self._prefixes = [self._prefix(shard) for shard in claim_shards(shards)]

    def _prefix(self, shard: int) -> str:
        return shard_prefix(self._namespace, shard, self._shards).decode()

    async def now_ms(self) -> int:
        return await time_ms(self._client, self._home)

    async def minutes(self, group: str, numbers: Sequence[int], names: Sequence[str] | None = None) -> list[Counts]:
        return await self._summed([f"minute:{group}:{number}" for number in numbers], names)

    async def hours(self, group: str, numbers: Sequence[int]) -> Counts:
        return await self._total([f"hour:{group}:{number}" for number in numbers])

    async def source_counts(self, group: str, source: str, hours: Sequence[int]) -> Counts:
        return (await self.counts_of(group, [source], hours))[0]

    async def counts_of(self, group: str, sources: Sequence[str], hours: Sequence[int]) -> list[Counts]:
        found: dict[str, Counts] = {}

        async def of_shard(prefix: str, names: list[str]) -> None:
            keys = [
                f"{prefix}:source:{digest}:{hour}"
                for digest in [source_digest(group, name) for name in names]
                for hour in hours
            ]
            packed, unreadable = await self._sums([key.encode() for key in keys], [len(hours)])
            report_all(self._report, unreadable)
            for name, pairs in zip(names, _decode_sums(packed), strict=True):
                found[name] = dict(zip(pairs[::2], pairs[1::2], strict=True))

        by_prefix: dict[str, list[str]] = {}
        for source in dict.fromkeys(sources):
            by_prefix.setdefault(self._prefix_of(source), []).append(source)
        await all_of([of_shard(*item) for item in by_prefix.items()])
        return [found[source] for source in sources]

    async def replicas(self, group: str) -> list[ReplicaSeen]:
        key = f"{self._home}replicas:{group}"
        names = await self._command({}, "HGETALL", key)
        seen: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for prefix in self._prefixes:
            for number, at in await self._seen(f"{prefix}:seen:{group}"):
                before = seen[number]
                seen[number] = (max(before[0], at[0]), max(before[1], at[1]))
        numbers = [(readable(int, self._report, key, number, NO_NUMBER), text(name)) for name, number in names.items()]
        known = [ReplicaSeen(name, number, *seen[number]) for number, name in sorted(numbers) if number != NO_NUMBER]
        return [*known, ReplicaSeen(OTHER_NAME, OTHER_REPLICA, *seen[OTHER_REPLICA])] if OTHER_REPLICA in seen else known

    async def _seen(self, key: str) -> list[tuple[int, tuple[int, int]]]:
        """By replica number: the latest enqueued and processed times in ms."""
        stored = await self._command({}, "HGETALL", key)
        return [
            (readable(int, self._report, key, number, NO_NUMBER), readable(_times, self._report, key, packed, (0, 0)))
            for number, packed in stored.items()
        ]

    async def sources(self, group: str, start: str = "", limit: int | None = None, contains: str = "") -> list[SourceSeen]:
        found: list[SourceSeen] = []
        oldest = await self.now_ms() - SOURCE_SECONDS * 1000
        async for names in self._named("named", group, start, PAGE if contains or limit is None else limit):
            wanted = [(name, prefix) for name, prefix in names if contains in text(name)]
            times = await self._each("zscore", [(prefix, f":sources:{group}", (name,)) for name, prefix in wanted])
            found += [
                SourceSeen(text(name), int(at))
                for (name, _), at in zip(wanted, times, strict=True)
                if at is not None and math.isfinite(at) and at >= oldest
            ]
            await self._drop(f"named:{group}", [item for item, at in zip(wanted, times, strict=True) if at is None])
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found

    async def gaps(self, group: str, start: str = "", limit: int | None = None) -> list[tuple[str, SourceHistory]]:
        found: list[tuple[str, SourceHistory]] = []
        async for names in self._named("gapped-named", group, start, PAGE if limit is None else limit):
            sources = [text(name) for name, _ in names]
            histories = await self.histories(group, sources)
            missing = {source: history for source, history in histories.items() if history.missing}
            found += [(source, missing[source]) for source in sources if source in missing]
            await self._drop(f"gapped-named:{group}", [item for item in names if text(item[0]) not in missing])
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found

    async def histories(self, group: str, sources: Sequence[str]) -> dict[str, SourceHistory]:
        asked: list[tuple[str, str, tuple[bytes, ...]]] = [
            (self._prefix_of(source), f":gaps:{source_digest(group, source)}", ()) for source in sources
        ]
        found = await self._each("get", asked)
        histories = {
            source: readable(_history, self._report, prefix + key, packed, None)
            for source, (prefix, key, _), packed in zip(sources, asked, found, strict=True)
        }
        return {source: history for source, history in histories.items() if history is not None}

    async def counted_together(self, group: str, hours: Sequence[int]) -> Counts:
        return await self._total([f"beyond:{group}:{hour}" for hour in hours])

    async def _named(self, index: str, group: str, start: str, size: int) -> AsyncIterator[list[tuple[bytes, str]]]:
        """The names in an index of all shards, each with its shard's prefix, in order and page by page."""
        first = b"[" + start.encode(errors="replace") if start else b"-"
        while True:
            pages = await all_of(
                [
                    self._command([], "ZRANGEBYLEX", f"{prefix}:{index}:{group}", first, b"+", start=0, num=size)
                    for prefix in self._prefixes
                ]
            )
            names = sorted((name, prefix) for prefix, page in zip(self._prefixes, pages, strict=True) for name in page)
            yield names[:size]
            if len(names) < size:
                return
            first = b"(" + names[size - 1][0]

    async def _drop(self, index: str, names: Sequence[tuple[bytes, str]]) -> None:
        """Takes out names whose content is gone: pods of before took them out of the index by time only. One that has come
        back meanwhile is written again with its next readings."""
        await self._each("zrem", [(prefix, f":{index}", (name,)) for name, prefix in names])

    async def _each(self, command: str, asked: Sequence[tuple[str, str, tuple[bytes, ...]]]) -> list[Any]:
        """The answers to one command for each (shard's prefix, rest of the key, arguments): a round trip for each shard."""
        answers: list[Any] = [None] * len(asked)

        async def of_shard(shard: str) -> None:
            places = [place for place, (prefix, _, _) in enumerate(asked) if prefix == shard]
            pipeline = self._client.pipeline(transaction=False)
            for place in places:
                getattr(pipeline, command)(shard + asked[place][1], *asked[place][2])
            keys = [shard + asked[place][1] for place in places]
            for place, answer in zip(places, await read_each(self._client, self._report, keys, pipeline, None), strict=True):
                answers[place] = answer

        await all_of([of_shard(shard) for shard in dict.fromkeys(prefix for prefix, _, _ in asked)])
        return answers

    async def forgot_ms(self) -> int | None:
        keys = [marker_key(self._namespace, shard, self._shards) for shard in claim_shards(self._shards)]
        found = await all_of([self._command(None, "HGET", key, "forgot") for key in keys])
        return max(number_of(self._report, key, value) for key, value in zip(keys, found, strict=True)) or None

    async def find(self, claim_scope: str, source: str, reading_id: str) -> StoredClaim | None:
        key = self._prefix_of(source).encode() + key_digest(claim_scope, source, reading_id)
        claim = readable(unpack, self._report, key, await self._command(None, "GET", key), None)
        return None if claim is None else StoredClaim(claim, max(0, int(await self._command(0, "PTTL", key))))

    def _prefix_of(self, source: str) -> str:
        return self._prefix(shard_of(source, self._shards))

    async def _command(self, default: Any, name: str, key: str | bytes, *arguments: Any, **options: Any) -> Any:
        method = getattr(self._client, name.lower())
        answer = cast("Awaitable[Any]", method(key, *arguments, **options))
        return await read(self._client, self._report, key, answer, default)

    async def _total(self, hashes: Sequence[str]) -> Counts:
        """The counts of all hashes and shards together."""
        found: Counts = {}
        async for part in self._in_parts(hashes, None):
            found = total([found, *part])
        return found

    async def _summed(self, hashes: Sequence[str], names: Sequence[str] | None = None) -> list[Counts]:
        """For each hash, the counts of all shards together; `names`: only these of them."""
        return [counts async for part in self._in_parts(hashes, names) for counts in part]

    async def _in_parts(self, hashes: Sequence[str], names: Sequence[str] | None) -> AsyncIterator[list[Counts]]:
        for place in range(0, len(hashes), HASHES_AT_ONCE):
            part = hashes[place : place + HASHES_AT_ONCE]
            by_shard = await all_of([self._hashes([f"{p}:{name}" for name in part], names) for p in self._prefixes])
            yield [counts[0] if len(counts) == 1 else total(counts) for counts in zip(*by_shard, strict=True)]

    async def _hashes(self, keys: list[str], names: Sequence[str] | None) -> list[Counts]:
        """Takes one round trip. All keys must be of one shard."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            if names is None:
                pipeline.hgetall(key)
            else:
                pipeline.hmget(key, names)
        answers: list[Any] = await read_each(self._client, self._report, keys, pipeline, {})
        return [
            self._counts(key, answer if names is None else _named(names, answer))
            for key, answer in zip(keys, answers, strict=True)
        ]

    def _counts(self, key: str, fields: Mapping[bytes, bytes]) -> Counts:
        try:
            return {_known_name(name): int(n) for name, n in fields.items() if name[:1] not in NOT_COUNTS}
        except ValueError:  # one of them is not of ours
            found = {text(name): n for name, n in fields.items() if name[:1] not in NOT_COUNTS}
            return {name: number_of(self._report, key, n) for name, n in found.items()}


def _named(names: Sequence[str], values: Sequence[bytes | None]) -> dict[bytes, bytes]:
    """An answer of HMGET as one of HGETALL; without values where the key was unreadable."""
    return {name.encode(): value for name, value in zip(names, values, strict=False) if value is not None}


def _history(packed: bytes) -> SourceHistory:
    epochs = _decode_epochs(packed)
    gaps = [Gap(epoch.name, first, last, found_ms) for epoch in epochs for first, last, found_ms in epoch.gaps]
    return SourceHistory(gaps, sum(epoch.forgotten for epoch in epochs))
