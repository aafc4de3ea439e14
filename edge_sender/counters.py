"""The sender's counters, which telemetry.py publishes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Reason = Literal["no-identity", "memory-full", "spool-full", "too-old", "refused"]
REASONS: tuple[Reason, ...] = ("no-identity", "memory-full", "spool-full", "too-old", "refused")


@dataclass(slots=True)
class Counters:
    readings: Counter[str] = field(default_factory=Counter)
    """Readings that got an id, by source; a passive replica counts them, too."""
    dropped: Counter[Reason] = field(default_factory=Counter)
    """Readings that were dropped, by reason."""
    sent_readings: int = 0
    """Readings that the hub acknowledged."""
    sent_messages: int = 0
    sent_bytes: int = 0
    retries: int = 0
    commits: int = 0
    spool_failures: int = 0
    takeovers: int = 0

    def summary(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items() if count) or "none"
        return (
            f"{self.readings.total()} readings, {self.sent_readings} sent in {self.sent_messages} messages, "
            f"{self.retries} retries, dropped: {dropped}"
        )
