"""The pods' board in memory; the real one is dedup_service/adapters/redis/board.py."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dedup_service.core.pod_report import PodReport
from dedup_service.ports import PodStatus, RedisMemory

MAX_EXAMPLES = 200


@dataclass(slots=True)
class MemoryPodBoard:
    reports: dict[str, PodReport] = field(default_factory=dict)
    flushed: dict[str, int] = field(default_factory=dict)
    added: Counter[str] = field(default_factory=Counter)
    written: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    async def tell(self, pod_id: str, number: int, report: PodReport, increments: Mapping[str, int]) -> None:
        self.reports[pod_id] = report
        if self.flushed.get(pod_id, -1) < number:
            self.added.update(increments)
            self.flushed[pod_id] = number

    async def leave(self, pod_id: str) -> None:
        self.reports.pop(pod_id, None)

    async def pods(self) -> list[PodStatus]:
        return [PodStatus(pod, report) for pod, report in sorted(self.reports.items())]

    async def totals(self) -> dict[str, int]:
        return dict(self.added)

    async def add_examples(self, kind: str, examples: Sequence[Mapping[str, Any]]) -> None:
        for example in examples:
            self.written[kind].insert(0, dict(example))
        del self.written[kind][MAX_EXAMPLES:]

    async def examples(self, kind: str) -> list[dict[str, Any]]:
        return list(self.written[kind])

    async def memory(self) -> RedisMemory:
        return RedisMemory(used_bytes=1_000_000, limit_bytes=0, evicted_keys=0)
