"""Holds back, or refuses, what a replica sends beyond its limits, before any of it claims."""

from __future__ import annotations

from dedup_service.core.limits import DEAD_LETTER, SentReadings
from dedup_service.processing.event_work import NOTHING, EventWork
from dedup_service.processing.shared import Shared
from dedup_service.waiting import Retrier

TOO_MANY_READINGS = "too-many-readings"
SLEEP_SECONDS = 0.5
"""How long a partition that waits does not notice that it is to stop."""


class Limiter:
    """Of one partition, for as long as one lease lasts."""

    def __init__(self, shared: Shared, retrier: Retrier) -> None:
        self._shared = shared
        self._retrier = retrier
        self._sent = SentReadings(shared.limits)

    def limit(self, item: EventWork) -> None:
        """Counts an admitted event; sets how long it is held, or refuses it."""
        group, readings, event = item.group, len(item.extraction.readings), item.event
        if group is None or not readings:
            return
        held = self._sent.add(item.replica, event.sequence_number, event.enqueued_ms, readings, group.window_ms)
        if not held:
            return
        item.beyond_limits = readings
        self._shared.ports.telemetry.beyond_limits(group.name, item.replica, self._shared.limits.beyond)
        if self._shared.limits.beyond == DEAD_LETTER:
            self._shared.admission.refuse_all(item, TOO_MANY_READINGS, "beyond what one replica may send")
            item.extraction = NOTHING
        else:
            item.held_seconds = held

    async def wait(self, work: list[EventWork]) -> None:
        """Raises StoppingError, as nothing of the work is begun."""
        clock, left = self._shared.ports.clock, sum(item.held_seconds for item in work)
        while left > 0:
            self._retrier.raise_if_stopping()
            await clock.sleep(min(left, SLEEP_SECONDS))
            left -= SLEEP_SECONDS
