"""Measures `dedup-service run` from a full input hub to the last event."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks.rounds import Took
from benchmarks.stage import DEADLINE_SECONDS, Log, Server, ServiceProcess, cpu_of, running_hub, running_services

SAMPLE_SECONDS = 1.0
STEADY = (0.1, 0.95)
"""The part of a drain that is measured: before it, connections are opened; after it, partitions end one by one."""


async def drain(
    log: Log, redis: Server, *, services: int = 1, redis_url: str = "", claims_before: int = 0, **overrides: str
) -> Took:
    """Measure a drain by `services` processes, with `claims_before` other claims already in Redis."""
    redis.clear()
    redis.add_claims(claims_before)
    async with (
        running_hub(len(log)) as hub,
        running_services(hub, redis_url or redis.url, services, **overrides) as running,
    ):
        events = hub.fill(log)
        return steady(await watch(running, redis, events), events)


@dataclass(frozen=True, slots=True)
class Sample:
    at: float
    events: float
    cpu: float
    redis_cpu: float
    hub_cpu: float
    rss_bytes: int


async def watch(running: list[ServiceProcess], redis: Server, events: float) -> list[Sample]:
    """Take samples until `events` events are processed."""
    samples: list[Sample] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not samples or samples[-1].events < events:
            await asyncio.sleep(SAMPLE_SECONDS)
            processed = sum([await service.metric("dedup_input_events_total") for service in running])
            samples.append(
                Sample(
                    time.monotonic(),
                    processed,
                    sum(cpu_of(service.usage) for service in running),
                    redis.cpu(),
                    time.process_time(),
                    max(service.usage.memory_info().rss for service in running),
                )
            )
    return samples


def steady(samples: list[Sample], events: float) -> Took:
    """Measured between the samples that bound the steady part. Raises ValueError if there are none."""
    first = next(sample for sample in samples if sample.events >= STEADY[0] * events)
    within = [sample for sample in samples if first.events < sample.events <= STEADY[1] * events]
    if not within:
        raise ValueError("the drain was too short to be measured: more readings are needed")
    last = within[-1]
    return Took(
        int(last.events - first.events),
        last.at - first.at,
        last.cpu - first.cpu,
        last.redis_cpu - first.redis_cpu,
        last.hub_cpu - first.hub_cpu,
        max(sample.rss_bytes for sample in samples),
    )
