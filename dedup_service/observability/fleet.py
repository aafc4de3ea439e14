"""What any pod can say about the whole deployment, from what is counted and told in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dedup_service.core.accounting import HOUR_MS, MINUTE_MS, Counts, GroupFigures, group_figures, replica_figures
from dedup_service.core.groups import Group
from dedup_service.core.overview import (
    GroupOverview,
    group_overview,
    periods,
    projected_bytes,
)
from dedup_service.ports import Ledger, PodBoard, PodStatus, RedisMemory, SourceSeen, StoredClaim

CACHE_SECONDS = 1.0
"""A dashboard that many people look at costs Redis as much as one."""
HISTORY_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Overview:
    now_ms: int
    groups: list[GroupOverview]
    memory: RedisMemory
    projected_bytes: int


@dataclass(frozen=True, slots=True)
class SourceOverview:
    seen: SourceSeen
    counts: Counts
    figures: GroupFigures
    missing: int


@dataclass(slots=True)
class Fleet:
    """Everything here raises UnavailableError while Redis is away."""

    ledger: Ledger
    board: PodBoard
    groups: Sequence[Group] = ()
    partitions_of: Callable[[], Sequence[str]] = tuple
    """Names of the partitions of all input hubs, as far as they are known."""
    is_counting: bool = True
    """Whether there are accounts to read."""
    monotonic: Callable[[], float] = time.monotonic
    _overview: Overview | None = None
    _overview_at: float = field(default=float("-inf"))

    def group(self, name: str) -> Group | None:
        return next((group for group in self.groups if group.name == name), None)

    async def overview(self) -> Overview:
        now = self.monotonic()
        if self._overview is None or now - self._overview_at >= CACHE_SECONDS:
            self._overview = await self._look()
            self._overview_at = now
        return self._overview

    async def _look(self) -> Overview:
        now_ms = await self.ledger.now_ms()
        minutes, hours = periods(now_ms)
        found = [
            group_overview(
                group,
                await self.ledger.minutes(group.name, minutes),
                await self.ledger.hours(group.name, hours),
                await self.ledger.replicas(group.name),
                now_ms,
            )
            for group in self.groups
        ]
        return Overview(now_ms, found, await self.board.memory(), projected_bytes(found))

    async def history(self, group: str) -> list[tuple[int, Counts]]:
        """(start of the minute in ms, counts) of the last hour; the current minute is not among them."""
        last = await self.ledger.now_ms() // MINUTE_MS
        numbers = list(range(last - HISTORY_MINUTES, last))
        found = await self.ledger.minutes(group, numbers)
        return [(number * MINUTE_MS, counts) for number, counts in zip(numbers, found, strict=True)]

    async def sources(self, group: str, hours: int = 24) -> list[SourceSeen]:
        oldest = await self.ledger.now_ms() - hours * HOUR_MS
        return [item for item in await self.ledger.sources(group) if item.processed_ms >= oldest]

    async def source_overviews(self, group: str, sources: Sequence[SourceSeen], hours: int = 24) -> list[SourceOverview]:
        hour = await self.ledger.now_ms() // HOUR_MS
        missing = {source: history.missing for source, history in await self.ledger.gaps(group)}
        found = []
        for seen in sources:
            counts = await self.ledger.source_counts(group, seen.source, range(hour - hours, hour + 1))
            found.append(SourceOverview(seen, counts, group_figures(counts), missing.get(seen.source, 0)))
        return found

    async def replica_names(self, group: str) -> dict[int, str]:
        return {replica.number: replica.name for replica in await self.ledger.replicas(group)}

    async def find(self, source: str, reading_id: str) -> list[tuple[Group, StoredClaim]]:
        found = [(group, await self.ledger.find(group.claim_scope, source, reading_id)) for group in self.groups]
        return [(group, claim) for group, claim in found if claim is not None]

    async def pods(self) -> list[PodStatus]:
        return await self.board.pods()

    async def totals(self) -> dict[str, int]:
        return await self.board.totals()

    async def examples(self, kind: str) -> list[dict[str, Any]]:
        return await self.board.examples(kind)


def coverage_by_replica(counts: Counts, names: dict[int, str]) -> dict[str, float]:
    """Of one source: which share of its readings each replica delivered."""
    return {name: replica_figures(counts, number).coverage or 0.0 for number, name in names.items()}
