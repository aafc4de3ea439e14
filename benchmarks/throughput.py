"""How fast a full input hub is drained, against what the SDK alone can do."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from redis.asyncio import Redis

from benchmarks.events import Load, input_log
from benchmarks.results import Cell, Section, at_least, at_most, middle
from benchmarks.stage import Server, Took, delayed, drain, loop, running_valkey

SINGLES, BATCHES = Load(60_000), Load(300_000, batch=20)
RECEIVE, FORWARD, SERVICE = "bare receive loop", "bare receive → send loop", "service"
FAR, SHARDED, TWO = "service, Redis 1 ms away", "service, 16 shards", "two services"
CPU_BOUND = 0.9
CORES = len(os.sched_getaffinity(0))

Round = Callable[[], Awaitable[Took]]


@dataclass(slots=True)
class Measured:
    """Rounds of one configuration, over `copies_per_event`."""

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
    """All of them in turn, so that a busy machine slows all alike."""
    measured = {name: Measured(copies_per_event) for name in configurations}
    for _ in range(rounds):
        for name, run in configurations.items():
            measured[name].rounds.append(await run())
    return measured


async def throughput(rounds: int) -> Section:
    section = Section(
        "Throughput, three copies of each reading, accounting on",
        "CPU and rate per copy in the steady part of a drain, medians; all with prefetch 3000 and batches of 1000 events. "
        "'CPU-bound' is no where the measured processes used less than 90 % of a core each: then other things on this "
        "machine (hub, Redis) set the pace, and CPU is the figure to look at.",
        ["", "CPU µs", "copies/s", "÷ receive", "÷ send", "Redis µs", "hub µs", "RSS MB", "cores", "CPU-bound"],
    )
    with running_valkey() as redis:
        async with delayed(redis, 0.001) as far_url:
            distance = await round_trip_ms(far_url)
            for name, load in (("single readings", SINGLES), ("batches of 20", BATCHES)):
                await _measure(section, name, load, redis, far_url, rounds)
    section.conditions += f" The Redis that is 1 ms away answered PING after {distance:.1f} ms."
    return section


async def _measure(section: Section, name: str, load: Load, redis: Server, far_url: str, rounds: int) -> None:
    log = input_log(load)
    configurations: dict[str, Round] = {
        RECEIVE: partial(loop, "receive", log),
        FORWARD: partial(loop, "forward", log),
        SERVICE: partial(drain, log, redis),
        FAR: partial(drain, log, redis, redis_url=far_url),
        SHARDED: partial(drain, log, redis, DEDUP_SHARDS="16"),
        TWO: partial(drain, log, redis, services=2),
    }
    found = await alternate(configurations, load.copies / sum(map(len, log.values())), rounds)
    for configuration, measured in found.items():
        section.rows.append(_row(f"{name}: {configuration}", measured, found))
    base, far, two = found[SERVICE], found[FAR], found[TWO]
    if load.batch == 1:
        receive = found[RECEIVE].rate()
        section.targets += [
            at_least("singles: service ÷ bare receive loop", 0.75, base.rate() / receive),
            at_least("singles: the same, Redis 1 ms away", 0.70, far.rate() / receive),
            at_least(
                f"singles: two services ÷ one, in copies/s (hub, Redis and services share {CORES} cores)",
                min(1.7, 0.9 * two.limit() / base.rate()),
                two.rate() / base.rate(),
            ),
            at_most("singles: CPU per copy of two services ÷ one", 1.15, two.cpu_us() / base.cpu_us()),
        ]
    else:
        section.targets.append(at_most("batches of 20: service CPU µs per copy", 10.0, base.cpu_us()))


def _row(name: str, measured: Measured, found: dict[str, Measured]) -> list[Cell]:
    is_service = name.endswith(TWO) or SERVICE in name
    processes = 2 if name.endswith(TWO) else 1
    return [
        name,
        measured.cpu_us(),
        measured.rate(),
        measured.rate() / found[RECEIVE].rate(),
        measured.rate() / found[FORWARD].rate(),
        measured.redis_cpu_us() if is_service else None,
        measured.hub_cpu_us() if is_service else None,
        measured.rss_mb() if is_service else None,
        measured.busy(),
        "yes" if measured.busy() >= CPU_BOUND * processes else "no",
    ]


async def round_trip_ms(url: str) -> float:
    async with _client(url) as client:
        times = []
        for _ in range(50):
            started = time.monotonic()
            await client.ping()
            times.append((time.monotonic() - started) * 1000)
    return middle(times)


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(url)
    try:
        yield client
    finally:
        await client.aclose()
