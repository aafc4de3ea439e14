"""Collects readings into messages by count, size and age. Pure: the caller passes the time in."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_sender.readings import Message, Reading, batch, single


@dataclass(frozen=True, slots=True)
class BatchLimits:
    max_readings: int
    """1: each reading is sent singly."""
    max_bytes: int
    max_seconds: float


@dataclass(slots=True)
class Batcher:
    limits: BatchLimits
    _readings: list[Reading] = field(default_factory=list)
    _bytes: int = 2
    _deadline: float = 0.0

    def add(self, reading: Reading, now: float) -> list[Message]:
        """The messages that are complete now. A reading above the size limit goes out alone."""
        if self.limits.max_readings == 1:
            return [single(reading)]
        size = len(reading.encoded) + 1
        full = self.flush() if self._readings and self._bytes + size > self.limits.max_bytes else []
        if not self._readings:
            self._deadline = now + self.limits.max_seconds
        self._readings.append(reading)
        self._bytes += size
        if len(self._readings) >= self.limits.max_readings:
            full += self.flush()
        return full

    def due(self, now: float) -> list[Message]:
        """The batch that has waited long enough."""
        return self.flush() if self._readings and now >= self._deadline else []

    @property
    def deadline(self) -> float | None:
        """When `due` has something to return, or None."""
        return self._deadline if self._readings else None

    def flush(self) -> list[Message]:
        if not self._readings:
            return []
        message = batch(self._readings)
        self._readings, self._bytes = [], 2
        return [message]
