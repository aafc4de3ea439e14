"""Alternating rounds of several configurations, and their medians."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from benchmarks.results import middle

CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Took:
    """What one round took; `cpu` is that of all measured processes together, in seconds."""

    events: int
    seconds: float
    cpu: float
    redis_cpu: float = 0.0
    hub_cpu: float = 0.0
    rss_bytes: int = 0

    @property
    def busy(self) -> float:
        return self.cpu / self.seconds


Round = Callable[[], Awaitable[Took]]


@dataclass(slots=True)
class Measured:
    """Rounds of one configuration, with figures per copy; each event holds `copies_per_event` copies."""

    copies_per_event: float
    rounds: list[Took] = field(default_factory=list)

    def cpu_us(self) -> float:
        return middle([took.cpu / took.events / self.copies_per_event * 1e6 for took in self.rounds])

    def rate(self) -> float:
        return middle([took.events * self.copies_per_event / took.seconds for took in self.rounds])

    def hub_cpu_us(self) -> float:
        return middle([took.hub_cpu / took.events / self.copies_per_event * 1e6 for took in self.rounds])

    def limit(self) -> float:
        """Copies per second if hub, Redis and services kept all cores of this machine busy and never waited."""
        return CORES / (self.cpu_us() + self.redis_cpu_us() + self.hub_cpu_us()) * 1e6

    def redis_cpu_us(self) -> float:
        return middle([took.redis_cpu / took.events / self.copies_per_event * 1e6 for took in self.rounds])

    def busy(self) -> float:
        return middle([took.busy for took in self.rounds])

    def rss_mb(self) -> float:
        return max(took.rss_bytes for took in self.rounds) / 1e6


async def alternate(configurations: dict[str, Round], copies_per_event: float, rounds: int) -> dict[str, Measured]:
    """Run all of them in turn, so that a busy machine slows all of them equally."""
    measured = {name: Measured(copies_per_event) for name in configurations}
    for _ in range(rounds):
        for name, run in configurations.items():
            measured[name].rounds.append(await run())
    return measured
