"""What the whole deployment finished in the last hour, read from Redis without asking twice for what can't change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dedup_service.core.accounting import MINUTE_MS
from dedup_service.core.flow import KEEP_FLOW_MINUTES, Slots, slots_of
from dedup_service.ports.pods import PodBoard

MINUTES_AT_ONCE = 16
"""Each has some ninety counts. Between two answers the loop is left to others."""


@dataclass(slots=True)
class FlowReader:
    board: PodBoard
    _past: dict[str, dict[int, Slots]] = field(default_factory=dict)
    """By group and minute: those that were over when they were read."""

    async def slots(self, group: str, now_ms: int) -> Slots:
        """`now_ms`: by the ledger's clock. Raises UnavailableError."""
        last, past = now_ms // MINUTE_MS, self._past.get(group, {})
        minutes = range(last - KEEP_FLOW_MINUTES, last + 1)
        found = await self._read(group, [minute for minute in minutes if minute not in past])
        slots = {at: sums for minute in minutes for at, sums in (found.get(minute) or past.get(minute, {})).items()}
        over = {minute: found.get(minute, past.get(minute, {})) for minute in minutes if minute < last}
        self._past[group] = over
        return slots

    async def _read(self, group: str, minutes: Sequence[int]) -> dict[int, Slots]:
        found: dict[int, Slots] = {}
        for place in range(0, len(minutes), MINUTES_AT_ONCE):
            part = minutes[place : place + MINUTES_AT_ONCE]
            counts = await self.board.flow(group, part)
            found |= {minute: slots_of(minute, of_minute) for minute, of_minute in zip(part, counts, strict=True)}
        return found
