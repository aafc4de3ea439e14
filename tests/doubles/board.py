"""The pods' board in memory; the real one is dedup_service/adapters/redis/board.py."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from dedup_service.core.accounting import HOUR_MS, MINUTE_MS, Counts, total
from dedup_service.core.flow import SLOT_MS
from dedup_service.core.pod_report import PodReport
from dedup_service.ports.pods import PodStatus, RedisMemory, SharedContent

MAX_EXAMPLES = 200


@dataclass(slots=True)
class MemoryPodBoard:
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    reports: dict[str, PodReport] = field(default_factory=dict)
    flushed: dict[str, int] = field(default_factory=dict)
    added: Counter[str] = field(default_factory=Counter)
    by_hour: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_minute: dict[tuple[str, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    contents: dict[str, tuple[float, bytes | None, int]] = field(default_factory=dict)
    """By name: when it was shared, what, and for how long."""
    turns: dict[str, int] = field(default_factory=dict)
    """By name, until when it is somebody's turn."""
    written: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    async def tell(
        self,
        pod_id: str,
        number: int,
        report: PodReport,
        increments: Mapping[str, int],
        recognised: Mapping[str, int] = MappingProxyType({}),
        flow: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.reports[pod_id] = report
        if self.flushed.get(pod_id, -1) < number:
            self.added.update(increments)
            now_ms = self.now_ms()
            self.by_hour[now_ms // HOUR_MS].update(recognised)
            for name, number_of_copies in flow.items():
                group, _, kind = name.rpartition("|")
                self.by_minute[group, now_ms // MINUTE_MS][f"{now_ms % MINUTE_MS // SLOT_MS}{kind}"] += number_of_copies
            self.flushed[pod_id] = number

    async def leave(self, pod_id: str) -> None:
        self.reports.pop(pod_id, None)

    async def pods(self) -> list[PodStatus]:
        return [PodStatus(pod, report) for pod, report in sorted(self.reports.items())]

    async def totals(self) -> dict[str, int]:
        return dict(self.added)

    async def recognised(self, hours: Sequence[int]) -> Counts:
        return total(self.by_hour[hour] for hour in hours)

    async def flow(self, group: str, minutes: Sequence[int]) -> list[Counts]:
        return [dict(self.by_minute.get((group, minute), {})) for minute in minutes]

    async def shared(self, name: str, fresh_ms: int, turn_ms: int) -> SharedContent:
        now_ms = self.now_ms()
        made_ms, content, keep_ms = self.contents.get(name, (float("-inf"), None, 0))
        if now_ms - made_ms >= keep_ms:
            content = None
        if now_ms - made_ms < fresh_ms:
            return SharedContent(content, is_mine_to_make=False)
        is_mine = self.turns.get(name, 0) <= now_ms
        if is_mine:
            self.turns[name] = now_ms + turn_ms
        return SharedContent(content, is_mine)

    async def share(self, name: str, content: bytes, keep_ms: int, rest_ms: int = 0) -> None:
        self.contents[name] = self.now_ms(), content, keep_ms
        self.turns[name] = self.now_ms() + rest_ms

    async def add_examples(self, kind: str, examples: Sequence[Mapping[str, Any]]) -> None:
        for example in examples:
            self.written[kind].insert(0, dict(example))
        del self.written[kind][MAX_EXAMPLES:]

    async def examples(self, kind: str) -> list[dict[str, Any]]:
        return list(self.written[kind])

    async def memory(self) -> RedisMemory:
        return RedisMemory(used_bytes=1_000_000, limit_bytes=0, evicted_keys=0)
