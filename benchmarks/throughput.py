"""How fast a full input hub is drained, compared with what the SDK alone can do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from redis.asyncio import Redis

from benchmarks.baselines import loop
from benchmarks.draining import drain
from benchmarks.events import Load, input_log
from benchmarks.results import Cell, Section, at_least, at_most, middle
from benchmarks.rounds import CORES, Measured, Round, alternate
from benchmarks.stage import Server, delayed, running_valkey

SINGLES, BATCHES = Load(60_000), Load(300_000, batch=20)
RECEIVE, FORWARD, SERVICE = "bare receive loop", "bare receive → send loop", "service"
FAR, SHARDED, TWO = "service, Redis 1 ms away", "service, 16 shards", "two services"
CPU_BOUND = 0.9


async def throughput(rounds: int) -> Section:
    section = Section(
        "Throughput, three copies of each reading, accounting on",
        "CPU and rate per copy in the steady part of a drain, medians; all with prefetch 3000 and batches of 1000 events. "
        "'CPU-bound' is 'no' where the measured processes used less than 90 % of a core each: then other processes on this "
        "machine (hub, Redis) limit the rate, and CPU is the relevant figure.",
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
    results = await alternate(configurations, load.copies / sum(map(len, log.values())), rounds)
    for configuration, measured in results.items():
        section.rows.append(_row(f"{name}: {configuration}", measured, results))
    base, far, two = results[SERVICE], results[FAR], results[TWO]
    if load.batch == 1:
        receive = results[RECEIVE].rate()
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


def _row(name: str, measured: Measured, results: dict[str, Measured]) -> list[Cell]:
    is_service = name.endswith(TWO) or SERVICE in name
    processes = 2 if name.endswith(TWO) else 1
    return [
        name,
        measured.cpu_us(),
        measured.rate(),
        measured.rate() / results[RECEIVE].rate(),
        measured.rate() / results[FORWARD].rate(),
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
