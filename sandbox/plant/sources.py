"""What the plant's machines measure: sources with different rates, each with its own counter."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

NS_PER_SECOND = 1_000_000_000
PACES = (0.2, 0.5, 1.0, 1.0, 2.0, 2.0, 4.0, 5.0)
"""Readings per second of the sources of one machine, in addition to its fast vibration sensor."""
FAST_PACES = (20.0, 20.0, 10.0, 10.0)
BAD_NO_COMMUNICATION = 0x80310000
"""OPC 10000-4, 7.39: a device does not answer."""
QUANTITIES = ("temperature", "pressure", "torque", "speed", "current", "flow", "level", "position")


@dataclass(slots=True)
class Source:
    """One measured quantity of one machine. Its readings are taken at multiples of its interval."""

    name: str
    interval_ns: int
    epoch: str
    next_sequence: int = 0

    def reading(self, time_ns: int) -> Reading:
        sequence = self.next_sequence
        self.next_sequence += 1
        return Reading(self.name, self.epoch, sequence, time_ns, measured(sequence, time_ns))

    def dropped_out(self, time_ns: int) -> Reading:
        """What a server says of it while its machine does not answer."""
        return Reading(self.name, self.epoch, None, time_ns, None, BAD_NO_COMMUNICATION)


def measured(sequence: int, time_ns: int) -> float:
    return round(50 + 25 * math.sin(time_ns / NS_PER_SECOND / 7) + sequence % 10, 3)


@dataclass(frozen=True, slots=True)
class Reading:
    source: str
    epoch: str
    sequence: int | None
    """None, like the value, while the machine has dropped out."""
    time_ns: int
    value: float | None
    status: int = 0

    def telegram(self) -> str | None:
        """The text of the OPC UA variable, in the form that a controller with a counter sends."""
        if self.value is None:
            return None
        return json.dumps({"epoch": self.epoch, "sequence": self.sequence, "value": self.value}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class DropOuts:
    """One machine after the other has a bad status for a while, `every_ns` from one of its bursts to the next."""

    every_ns: int
    machines: int
    lasts_ns: int = NS_PER_SECOND

    def has(self, source: str, time_ns: int) -> bool:
        machine = int(source.partition("/")[0].rpartition("-")[2]) - 1
        return (time_ns - machine * self.every_ns // self.machines) % self.every_ns < self.lasts_ns


MACHINES = 5


def machines(epoch: str, count: int = MACHINES) -> list[Source]:
    """Presses with eight sources each; the first four also have a fast vibration sensor."""
    paces = [
        (f"press-{machine}/{quantity}", pace)
        for machine in range(1, count + 1)
        for quantity, pace in zip(QUANTITIES, PACES, strict=True)
    ]
    paces += [(f"press-{machine}/vibration", pace) for machine, pace in enumerate(FAST_PACES[:count], start=1)]
    return [Source(name, int(NS_PER_SECOND / pace), epoch) for name, pace in paces]


@dataclass(slots=True)
class Schedule:
    """The readings of all sources in chronological order, from `start_ns` on."""

    sources: list[Source]
    start_ns: int
    drop_outs: DropOuts | None = None
    _due: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for index, source in enumerate(self.sources):
            first = -(-self.start_ns // source.interval_ns) * source.interval_ns
            heapq.heappush(self._due, (first, index))

    def due(self, now_ns: int) -> Iterator[Reading]:
        while self._due[0][0] <= now_ns:
            time_ns, index = self._due[0]
            source = self.sources[index]
            heapq.heapreplace(self._due, (time_ns + source.interval_ns, index))
            is_out = self.drop_outs is not None and self.drop_outs.has(source.name, time_ns)
            yield source.dropped_out(time_ns) if is_out else source.reading(time_ns)
