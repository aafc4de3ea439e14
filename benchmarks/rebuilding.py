"""How long it takes to give Redis its claims back from the clean stream, and what that costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.events import BATCH_TYPE, SOURCES, present_second
from benchmarks.latency import REPLICAS, send
from benchmarks.results import Section, at_least, at_most
from benchmarks.stage import (
    NAMESPACE,
    Hub,
    Server,
    ServiceProcess,
    cpu_of,
    running_hub,
    running_services,
    running_valkey,
    until_processed,
)
from dedup_service.core.outgoing import DEPLOYMENT_PROPERTY, INDEXES_PROPERTY, ORIGIN_PROPERTY
from sandbox.amqp.codec import Symbol
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, properties_section, section
from sandbox.hub.log import now_ms

BATCH = 20
WINDOW_MS = 14_400_000
CLAIMS = (1_000_000, 10_000_000)
DEADLINE_SECONDS = 1200.0
POLL_SECONDS = 0.25
RESTORED, PROGRESS = "dedup_claims_restored_total", "dedup_rebuild_progress_ratio"
LIVE_EVENTS_PER_SECOND = 30
BEFORE_SECONDS = 3.0
PAUSED_AFTER_SECONDS = 2.0
"""When no send of before is on its way any more, and the leases have not ended yet."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    goes_on: float
    """Seconds until what was waiting is published."""
    whole: float
    """Seconds until the whole window is read back."""
    cpu: float
    """Seconds of CPU, of the service and of Redis."""
    redis_cpu: float
    above_idle_bytes: int


def clean_event(number: int, at: str) -> BareMessage:
    """A batch as this service publishes it. Only what tells readings apart is filled in, since there are millions."""
    readings = ",".join(
        f'{{"specversion":"1.0","type":"reading","source":"opc.tcp://plant/machine-{n % SOURCES}/temperature",'
        f'"id":"c{n:031x}","time":"{at}.000Z","data":{{"value":{n},"quality":"good"}}}}'
        for n in range(number * BATCH, (number + 1) * BATCH)
    )
    said = {
        ORIGIN_PROPERTY: f"0badcafe/0/{number}",
        INDEXES_PROPERTY: f"0-{BATCH - 1}",
        DEPLOYMENT_PROPERTY: NAMESPACE,
        "iothub-connection-device-id": f"edge-{number % 3}",
        "iothub-connection-module-id": "sender",
    }
    properties = properties_section(content_type=Symbol(BATCH_TYPE))
    return BareMessage({}, properties + section(APPLICATION_PROPERTIES, said) + data_section(f"[{readings}]".encode()))


def fill(hub: Hub, claims: int) -> None:
    """What was published within the window, at a steady rate."""
    partitions, events = hub.stand_in.namespace.hubs["clean"].partitions, claims // BATCH
    start_ms, at = now_ms() - WINDOW_MS + 60_000, present_second()
    span_ms = WINDOW_MS - 120_000
    for number in range(events):
        partitions[number % len(partitions)].append(clean_event(number, at), {}, start_ms + span_ms * number // events)


async def rebuild(claims: int, redis: Server) -> Rebuilt:
    redis.clear()
    async with running_hub(REPLICAS) as hub:
        fill(hub, claims)
        async with running_services(hub, redis.url) as running:
            (service,) = running
            await until_processed(running, await send(hub, LIVE_EVENTS_PER_SECOND, BEFORE_SECONDS))
            live = asyncio.create_task(send(hub, LIVE_EVENTS_PER_SECOND, DEADLINE_SECONDS))
            try:
                return await _after_forgetting(hub, redis, service, claims)
            finally:
                live.cancel()


async def _after_forgetting(hub: Hub, redis: Server, service: ServiceProcess, claims: int) -> Rebuilt:
    idle_bytes = service.usage.memory_info().rss
    before, redis_before = cpu_of(service.usage), redis.cpu()
    redis.clear()
    started = time.monotonic()
    most, goes_on, published = idle_bytes, 0.0, None
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (goes_on and await service.metric(RESTORED) and await service.metric(PROGRESS) == 1):
            await asyncio.sleep(POLL_SECONDS)
            seconds, most = time.monotonic() - started, max(most, service.usage.memory_info().rss)
            if seconds >= PAUSED_AFTER_SECONDS and published is None:
                published = hub.published()
            if published is not None and not goes_on and hub.published() > published:
                goes_on = seconds
    redis_cpu = redis.cpu() - redis_before
    cpu = cpu_of(service.usage) - before + redis_cpu
    return Rebuilt(goes_on, time.monotonic() - started, cpu, redis_cpu, most - idle_bytes)


def _rows(claims: int, took: Rebuilt) -> Iterator[list[str | float | None]]:
    yield [f"{claims:,} claims: until live data goes on, s", took.goes_on]
    yield [f"{claims:,} claims: until the window is whole, s", took.whole]
    yield [f"{claims:,} claims: claims per CPU second, service and Redis", claims / took.cpu]
    yield [f"{claims:,} claims: of that CPU, Redis' share", took.redis_cpu / took.cpu]
    yield [f"{claims:,} claims: memory of the service above idle, MB", took.above_idle_bytes / 1e6]


async def rebuilding(_: int) -> Section:
    """Once, whatever the number of rounds: it takes minutes."""
    section = Section(
        "Redis forgets everything: claims are read back from the clean stream",
        f"Clean events of {BATCH} readings on 4 partitions, spread over a window of {WINDOW_MS // 3_600_000} h; one "
        "service; leases of 5 s, which must end first, "
        f"and live data of {LIVE_EVENTS_PER_SECOND} events/s. Hub, Redis and service share this machine.",
        ["", "value"],
    )
    with running_valkey() as redis:
        for claims in CLAIMS:
            took = await rebuild(claims, redis)
            section.rows += _rows(claims, took)
            name = f"{claims:,} claims"
            section.targets += [
                at_least(f"{name}: rebuilt per CPU second", 150_000, claims / took.cpu),
                at_most(f"{name}: memory above idle, MB", 100, took.above_idle_bytes / 1e6),
            ]
    return section
