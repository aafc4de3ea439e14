"""What a plant's machines say, and what one of its gateways makes of that: losses, batches, repetitions, restarts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, NamedTuple

GATEWAYS = ("a", "b", "c")
NS = 1_000_000_000
BAD = 0x80310000
"""BadNoCommunication."""
TICKS = 24


class Reading(NamedTuple):
    """What the plant said once. All values of one plant are different by these."""

    signal: str
    """`machine/point`."""
    ns: int
    """Source time since 1970."""
    value: Any
    """None where the status is bad."""
    status: int = 0
    """As in OPC UA, without what a subscription adds to it."""


Kind = Literal["start", "data", "repeat", "heartbeat", "notice"]


class Step(NamedTuple):
    """Something that a gateway does."""

    kind: Kind
    """`start` begins a session anew, with the last values of all signals; `repeat` has these, too, `heartbeat` that of one
    signal, and a `notice` none."""
    readings: list[Reading]


@dataclass(frozen=True)
class Plant:
    """Ticks of one second, in which about half of the signals change."""

    signals: Sequence[str]
    start_ns: int
    grain_ns: int = 100
    """Source times are multiples of it."""
    one_stamp: bool = True
    """Whether two values of a signal may have one time."""
    readings: list[Reading] = field(default_factory=list)
    """The true list."""
    lost: dict[Reading, frozenset[str]] = field(default_factory=dict)
    """By which gateways each reading is missed; never by all."""

    @classmethod
    def running(cls, rng: Random, signals: Sequence[str], start_ns: int, grain_ns: int, one_stamp: bool) -> Plant:
        plant = cls(signals, start_ns, grain_ns, one_stamp)
        for tick in range(TICKS):
            for signal in signals:
                plant._tick(rng, signal, tick)
        for reading in plant.readings:
            missing = rng.choices((0, 1, 2), (6, 3, 1))[0]
            plant.lost[reading] = frozenset(rng.sample(GATEWAYS, missing))
        return plant

    def _tick(self, rng: Random, signal: str, tick: int) -> None:
        if rng.random() < 0.5:
            return
        at = self.start_ns + tick * NS + rng.randrange(max(1, NS // 2 // self.grain_ns)) * self.grain_ns
        status = BAD if rng.random() < 0.08 and not signal.endswith("/Alarm") else 0
        self.readings.append(Reading(signal, at, None if status else _value(rng, signal, tick), status))
        if self.one_stamp and rng.random() < 0.15:
            self.readings.append(Reading(signal, at, _value(rng, signal, 1000 + tick)))

    def steps(self, gateway: str, rng: Random) -> Iterator[Step]:
        """What one gateway does, from its start on."""
        seen = [reading for reading in self.readings if gateway not in self.lost[reading]]
        last: dict[str, Reading] = {}
        yield Step("start", [])
        while seen:
            size = rng.randint(1, 9)
            chunk, seen = seen[:size], seen[size:]
            last.update({reading.signal: reading for reading in chunk})
            yield Step("data", chunk)
            if rng.random() < 0.2:
                yield Step("repeat", list(last.values()))
            if rng.random() < 0.2:
                yield Step("heartbeat", [rng.choice(list(last.values()))])
            if rng.random() < 0.15:
                yield Step("notice", [])
            if rng.random() < 0.08:
                yield Step("start", list(last.values()))


def _value(rng: Random, signal: str, tick: int) -> Any:
    """Different for two ticks only where two values of one time must be."""
    point = signal.rpartition("/")[2]
    if point == "Running":
        return tick < 1000 if tick % 2 else tick >= 1000
    if point == "Serial":
        return 2**53 + 1 + tick
    if point == "Alarm":
        return f"Öl unter {tick}"
    if point == "Shift":
        return f'Früh "{tick}" \\ {rng.choice(("läuft", "steht"))}'
    return tick / 4 if point == "Temperature" else 5 * tick


ALARMS = ("press-1/Alarm", "press-2/Alarm")
"""Events."""
SIGNALS = tuple(
    f"{machine}/{point}"
    for machine, points in (
        ("press-1", ("Temperature", "Running", "Serial")),
        ("press-2", ("Durchfluß 1", "Shift", "Temperature")),
    )
    for point in points
)
