"""How much one replica may send before it is held back or refused, so that no device fills the Redis of all.

What counts is what the replica has sent in the partition, by the hub's clock and since this owner began, whether it was
accepted or not. So an owner that reads events again has counted no more than the one before it, and never refuses what that
one has claimed: such a claim would silence the copies of other replicas for a reading that is not published (R10).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dedup_service.core.accounting import MINUTE_MS

HOLD = "hold"
DEAD_LETTER = "dead-letter"
MAX_COUNTED = 1_000
"""Replicas of a partition that are counted one by one. Only senders whose names no hub vouches for can be more; those
beyond share one limit."""
ALL_OTHERS = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one replica in one partition, which is where IoT Hub puts all that a device sends."""

    per_second: float
    """Readings, as the average over a minute."""
    in_window: int
    """Readings within the window of the replica's group."""
    beyond: str
    """`hold`: what is beyond passes at the rate of the limit, and its partition waits; `dead-letter`: it is refused."""


@dataclass(slots=True)
class _Sent:
    """By one replica."""

    minute: int = 0
    in_minute: int = 0
    in_window: int = 0
    """Includes the present minute."""
    minutes: deque[tuple[int, int]] = field(default_factory=deque)
    """The minutes of the window before the present one, and what was sent in each."""

    def turn(self, minute: int, window_minutes: int) -> None:
        """To a later minute."""
        if self.in_minute:
            self.minutes.append((self.minute, self.in_minute))
        self.minute, self.in_minute = minute, 0
        while self.minutes and self.minutes[0][0] <= minute - window_minutes:
            self.in_window -= self.minutes.popleft()[1]


@dataclass(slots=True)
class SentReadings:
    """What each replica of one partition has sent. To be asked in the order of the partition."""

    limits: Limits
    _by_replica: dict[str, _Sent] = field(default_factory=dict)
    _counted_to: int = -1

    def add(self, replica: str, sequence_number: int, enqueued_ms: int, readings: int, window_ms: int) -> float:
        """Counts an event. Returns 0 while its replica was within its limits before it; else for how many seconds the
        event must be held, so that what is beyond passes at the limit's rate.

        What is asked again after a failure is not counted again, and is within the limits."""
        if sequence_number <= self._counted_to:
            return 0.0
        self._counted_to = sequence_number
        sent = self._by_replica.get(replica) or self._new(replica, enqueued_ms // MINUTE_MS)
        minute = enqueued_ms // MINUTE_MS
        if minute > sent.minute:
            sent.turn(minute, -(-window_ms // MINUTE_MS))
        limits, held = self.limits, 0.0
        if sent.in_minute >= limits.per_second * 60:
            held = readings / limits.per_second
        if sent.in_window >= limits.in_window:
            held = max(held, readings * window_ms / 1000 / limits.in_window)
        sent.in_minute += readings
        sent.in_window += readings
        return held

    def _new(self, replica: str, minute: int) -> _Sent:
        if len(self._by_replica) >= MAX_COUNTED:
            replica = ALL_OTHERS
        return self._by_replica.setdefault(replica, _Sent(minute))
