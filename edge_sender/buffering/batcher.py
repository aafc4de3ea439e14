"""Collects readings into messages by count, size and age. Pure: the caller passes the time in."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_sender.buffering.spool_values import Place, Rows
from edge_sender.identity.readings import Reading, batch, single
from edge_sender.ports import Message

BRACKETS = 2


@dataclass(frozen=True, slots=True)
class BatchLimits:
    max_readings: int
    """1 sends each reading singly."""
    max_bytes: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message, the spool rows that it clears, and the place of the oldest; both None for readings in memory only."""

    message: Message
    rows: Rows | None
    oldest: Place | None = None


@dataclass(slots=True)
class Batcher:
    limits: BatchLimits
    _readings: list[Reading] = field(default_factory=list)
    _places: list[Place] = field(default_factory=list)
    _bytes: int = BRACKETS
    _deadline: float = 0.0

    def add(self, reading: Reading, place: Place | None, now: float) -> list[Parcel]:
        """Add a reading and return the parcels that are now complete. A reading above the size limit is sent alone, and one
        with other properties begins another message."""
        if self.limits.max_readings == 1:
            return [_parcel(single(reading), [] if place is None else [place])]
        size = reading.size + 1
        is_other = bool(self._readings) and self._readings[0].properties != reading.properties
        full = self.flush() if is_other or (self._readings and self._bytes + size > self.limits.max_bytes) else []
        if not self._readings:
            self._deadline = now + self.limits.max_seconds
            self._bytes += len(reading.properties)
        self._readings.append(reading)
        if place is not None:
            self._places.append(place)
        self._bytes += size
        if len(self._readings) >= self.limits.max_readings:
            full += self.flush()
        return full

    def due(self, now: float) -> list[Parcel]:
        """The batch that has waited long enough, if any."""
        return self.flush() if self._readings and now >= self._deadline else []

    @property
    def deadline(self) -> float | None:
        """When `due` will have something to return; None without readings."""
        return self._deadline if self._readings else None

    def flush(self) -> list[Parcel]:
        if not self._readings:
            return []
        parcel = _parcel(batch(self._readings), self._places)
        self._readings, self._places, self._bytes = [], [], BRACKETS
        return [parcel]


def _parcel(message: Message, places: list[Place]) -> Parcel:
    if not places:
        return Parcel(message, None)
    return Parcel(message, Rows(places[0].row, places[-1].row), places[0])
