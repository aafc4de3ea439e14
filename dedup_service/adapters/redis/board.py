"""What the pods report to each other, so that each of them can answer for all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from dedup_service.adapters.redis.calls import RedisClient, Script, call, infos, time_ms
from dedup_service.ports import PodStatus, RedisMemory

LIVE_MS = 5_000
KEEP_MS = 3_600_000
MAX_EXAMPLES = 200


class RedisPodBoard:
    def __init__(self, client: RedisClient, *, namespace: str) -> None:
        self._client = client
        self._prefix = f"{namespace}{{0}}board:"
        self._tell = Script(client, "board.lua")

    async def tell(self, pod_id: str, number: int, status: Mapping[str, Any], increments: Mapping[str, int]) -> None:
        pairs = [item for pair in increments.items() for item in pair]
        keys = [(self._prefix + name).encode() for name in ("pods", "flushed", "totals")]
        await self._tell(keys, [pod_id, number, json.dumps(status), KEEP_MS, *pairs])

    async def leave(self, pod_id: str) -> None:
        for name in ("pods", "flushed"):
            await call(self._client, cast("Any", self._client.hdel(self._prefix + name, pod_id)))

    async def pods(self) -> list[PodStatus]:
        now_ms = await time_ms(self._client, self._prefix)
        statuses = await call(self._client, cast("Any", self._client.hgetall(self._prefix + "pods")))
        live = []
        for pod, text in sorted(statuses.items()):
            at, _, status = text.decode().partition(" ")
            if now_ms - int(at) < LIVE_MS:
                live.append(PodStatus(pod.decode(), json.loads(status)))
        return live

    async def totals(self) -> dict[str, int]:
        totals = await call(self._client, cast("Any", self._client.hgetall(self._prefix + "totals")))
        return {name.decode(): int(number) for name, number in totals.items()}

    async def add_examples(self, kind: str, examples: Sequence[Mapping[str, Any]]) -> None:
        key = f"{self._prefix}notes:{kind}"
        pipeline = self._client.pipeline(transaction=True)
        pipeline.lpush(key, *(json.dumps(example) for example in examples))
        pipeline.ltrim(key, 0, MAX_EXAMPLES - 1)
        await call(self._client, pipeline.execute())

    async def examples(self, kind: str) -> list[dict[str, Any]]:
        items = await call(self._client, cast("Any", self._client.lrange(f"{self._prefix}notes:{kind}", 0, -1)))
        return [json.loads(item) for item in items]

    async def memory(self) -> RedisMemory:
        memory, stats = await infos(self._client, "memory"), await infos(self._client, "stats")
        limits = [int(server.get("maxmemory", 0)) or int(server.get("total_system_memory", 0)) for server in memory]
        used, evicted = (int(server["used_memory"]) for server in memory), (int(s.get("evicted_keys", 0)) for s in stats)
        return RedisMemory(sum(used), sum(limits), sum(evicted))
