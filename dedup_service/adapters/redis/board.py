"""What the pods report to each other, so that each of them can answer for all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import msgspec

from dedup_service.adapters.redis.calls import RedisClient, Script, WrongTypeError, call, infos, time_ms
from dedup_service.adapters.redis.lua_constants import lua
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
from dedup_service.core import pod_report
from dedup_service.core.accounting import HOUR_MS, KEEP_HOURS, MINUTE_MS, Counts, total
from dedup_service.core.examples import ConflictExample, DeadLetterExample
from dedup_service.core.flow import KEEP_FLOW_MINUTES, SLOT_MS
from dedup_service.core.pod_report import PodReport
from dedup_service.ports.pods import PodStatus, RedisMemory, SharedContent
from dedup_service.telemetry import CONFLICT, DEAD_LETTER

LIVE_MS = 5_000
KEEP_MS = 3_600_000
SWEEP_MS = 60_000
"""How often silent pods are dropped, by whoever reports then."""
MAX_EXAMPLES = 200
CONSTANTS = {
    "HOUR_MS": HOUR_MS,
    "KEEP_HOURS": KEEP_HOURS,
    "MINUTE_MS": MINUTE_MS,
    "SLOT_MS": SLOT_MS,
    "KEEP_FLOW_SECONDS": (KEEP_FLOW_MINUTES + 2) * 60,
    "SWEEP_MS": SWEEP_MS,
}
_EXAMPLES: dict[str, Callable[[bytes], Any]] = {
    CONFLICT: msgspec.json.Decoder(ConflictExample).decode,
    DEAD_LETTER: msgspec.json.Decoder(DeadLetterExample).decode,
}


def _report_of(stored: bytes) -> tuple[int, PodReport]:
    """When it was made, in ms since the epoch, and the report. Raises ValueError."""
    at_ms, _, report = stored.partition(b" ")
    return int(at_ms), pod_report.decode(report)


class RedisPodBoard:
    def __init__(self, client: RedisClient, *, namespace: str, report: Report = log_unreadable) -> None:
        self._client = client
        self._report = report
        self._prefix = f"{namespace}{{0}}board:"
        self._tell = Script(client, "board.lua", head=lua(CONSTANTS))
        self._shared = Script(client, "shared.lua")
        self._share = Script(client, "share.lua")

    async def tell(
        self,
        pod_id: str,
        number: int,
        report: PodReport,
        increments: Mapping[str, int],
        recognised: Mapping[str, int] = MappingProxyType({}),
        flow: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        pairs = [item for added in (increments, recognised, flow) for pair in added.items() for item in pair]
        keys = [(self._prefix + name).encode() for name in ("pods", "flushed", "totals", "recognised", "flow", "swept")]
        arguments = [pod_id, number, pod_report.encode(report), KEEP_MS, len(increments), len(recognised), *pairs]
        report_all(self._report, await self._tell(keys, arguments))

    async def leave(self, pod_id: str) -> None:
        for name in ("pods", "flushed"):
            await call(self._client, cast("Any", self._client.hdel(self._prefix + name, pod_id)))

    async def pods(self) -> list[PodStatus]:
        now_ms = await time_ms(self._client, self._prefix)
        key = self._prefix + "pods"
        live = []
        for pod, stored in sorted((await self._hash(key)).items()):
            found: tuple[int, PodReport] | None = readable(_report_of, self._report, key, stored, None)
            if found is not None and now_ms - found[0] < LIVE_MS:
                live.append(PodStatus(text(pod), found[1]))
        return live

    async def totals(self) -> dict[str, int]:
        key = self._prefix + "totals"
        return {text(name): number_of(self._report, key, value) for name, value in (await self._hash(key)).items()}

    async def recognised(self, hours: Sequence[int]) -> Counts:
        hashes = [(key, await self._hash(key)) for key in (f"{self._prefix}recognised:{hour}" for hour in hours)]
        return total(
            {text(name): number_of(self._report, key, value) for name, value in found.items()} for key, found in hashes
        )

    async def flow(self, group: str, minutes: Sequence[int]) -> list[Counts]:
        if not minutes:
            return []
        keys = [f"{self._prefix}flow:{group}:{minute}" for minute in minutes]
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        hashes: list[dict[bytes, bytes]] = await read_each(self._client, self._report, keys, pipeline, {})
        return [
            {text(name): number_of(self._report, key, value) for name, value in found.items()}
            for key, found in zip(keys, hashes, strict=True)
        ]

    async def _hash(self, key: str) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = await read(self._client, self._report, key, cast("Any", self._client.hgetall(key)), {})
        return found

    def _shared_keys(self, name: str) -> list[bytes]:
        return [f"{self._prefix}shared:{name}".encode(), f"{self._prefix}shared-turn:{name}".encode()]

    async def shared(self, name: str, fresh_ms: int, turn_ms: int) -> SharedContent:
        content, is_mine, unreadable = await self._shared(self._shared_keys(name), [fresh_ms, turn_ms])
        report_all(self._report, unreadable)
        return SharedContent(content, bool(is_mine))

    async def share(self, name: str, content: bytes, keep_ms: int, rest_ms: int = 0) -> None:
        await self._share(self._shared_keys(name), [content, keep_ms, rest_ms])

    async def add_examples(self, kind: str, examples: Sequence[Mapping[str, Any]]) -> None:
        key = f"{self._prefix}notes:{kind}"
        try:
            await self._push(key, examples)
        except WrongTypeError:
            self._report(key)
            await call(self._client, cast("Any", self._client.delete(key)))
            await self._push(key, examples)

    async def _push(self, key: str, examples: Sequence[Mapping[str, Any]]) -> None:
        pipeline = self._client.pipeline(transaction=True)
        pipeline.lpush(key, *(json.dumps(example) for example in examples))
        pipeline.ltrim(key, 0, MAX_EXAMPLES - 1)
        await call(self._client, pipeline.execute())

    async def examples(self, kind: str) -> list[dict[str, Any]]:
        key = f"{self._prefix}notes:{kind}"
        items: list[bytes] = await read(self._client, self._report, key, cast("Any", self._client.lrange(key, 0, -1)), [])
        examples = [readable(_EXAMPLES[kind], self._report, key, item, None) for item in items]
        return [example for example in examples if example is not None]

    async def memory(self) -> RedisMemory:
        memory, stats = await infos(self._client, "memory"), await infos(self._client, "stats")
        limits = [int(server.get("maxmemory", 0)) or int(server.get("total_system_memory", 0)) for server in memory]
        used, evicted = (int(s.get("used_memory", 0)) for s in memory), (int(s.get("evicted_keys", 0)) for s in stats)
        return RedisMemory(sum(used), sum(limits), sum(evicted))
