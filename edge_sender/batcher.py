"""Collects readings into messages by count, size and age. Pure: the caller passes the time in."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_sender.readings import Message, Reading, batch, single
from edge_sender.spool import Rows

BRACKETS = 2


@dataclass(frozen=True, slots=True)
class BatchLimits:
    max_readings: int
    """1: each reading is sent singly."""
    max_bytes: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message, and the rows of the spool that it empties; None for readings that are only in memory."""

    message: Message
    rows: Rows | None


@dataclass(slots=True)
class Batcher:
    limits: BatchLimits
    _readings: list[Reading] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)
    _bytes: int = BRACKETS
    _deadline: float = 0.0

    def add(self, reading: Reading, row: int | None, now: float) -> list[Parcel]:
        """The parcels that are complete now. A reading above the size limit goes out alone."""
        if self.limits.max_readings == 1:
            return [Parcel(single(reading), None if row is None else Rows(row, row))]
        size = reading.size + 1
        full = self.flush() if self._readings and self._bytes + size > self.limits.max_bytes else []
        if not self._readings:
            self._deadline = now + self.limits.max_seconds
        self._readings.append(reading)
        if row is not None:
            self._rows.append(row)
        self._bytes += size
        if len(self._readings) >= self.limits.max_readings:
            full += self.flush()
        return full

    def due(self, now: float) -> list[Parcel]:
        """The batch that has waited long enough."""
        return self.flush() if self._readings and now >= self._deadline else []

    @property
    def deadline(self) -> float | None:
        """When `due` has something to return, or None."""
        return self._deadline if self._readings else None

    def flush(self) -> list[Parcel]:
        if not self._readings:
            return []
        parcel = Parcel(batch(self._readings), Rows(self._rows[0], self._rows[-1]) if self._rows else None)
        self._readings, self._rows, self._bytes = [], [], BRACKETS
        return [parcel]
