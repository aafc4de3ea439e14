"""What the whole deployment finished in the last hour, read from Redis without asking twice for what can't change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dedup_service.core.accounting import MINUTE_MS
from dedup_service.core.flow import KEEP_FLOW_MINUTES, Slots, slots_of
from dedup_service.ports import PodBoard


@dataclass(slots=True)
class FlowReader:
    board: PodBoard
    _past: dict[tuple[str, int], Slots] = field(default_factory=dict)
    """By group and minute: those that were over when they were read."""

    async def slots(self, group: str, now_ms: int) -> Slots:
        """`now_ms`: by the ledger's clock. Raises UnavailableError."""
        last = now_ms // MINUTE_MS
        minutes = range(last - KEEP_FLOW_MINUTES, last + 1)
        found = await self._read(group, [minute for minute in minutes if (group, minute) not in self._past])
        slots = {
            at: sums for minute in minutes for at, sums in (found.get(minute) or self._past.get((group, minute), {})).items()
        }
        self._past = {key: kept for key, kept in self._past.items() if key[1] in minutes}
        self._past |= {(group, minute): of_minute for minute, of_minute in found.items() if minute < last}
        return slots

    async def _read(self, group: str, minutes: Sequence[int]) -> dict[int, Slots]:
        counts = await self.board.flow(group, minutes)
        return {minute: slots_of(minute, of_minute) for minute, of_minute in zip(minutes, counts, strict=True)}
