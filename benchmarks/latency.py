"""Latency from the input hub's enqueued time to the clean hub's, both by the stand-in's clock."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from benchmarks.baselines import running_loop
from benchmarks.events import Load, bare_messages, iot_hub_says, present_second
from benchmarks.results import Cell, Curve, Section, at_most, middle
from benchmarks.stage import Hub, Server, running_hub, running_services, running_valkey, until_processed
from dedup_service.adapters.eventhubs.below_sdk.decoding import decode
from sandbox.amqp.messages import BareMessage
from sandbox.hub.log import Entry, now_ms

RATES = (100, 500, 5000)
"""Events per second, all replicas together."""
SECONDS, WARM_UP_SECONDS = 10.0, 3.0
REPLICAS = 3
TICK_SECONDS = 0.005
SPREAD_SECONDS = 0.02
"""Time between the copies of one reading."""
OVERLOADED_MS = 1000.0
"""A loop that is this far behind does not keep up: its latency shows only its queue, which grows during the whole run."""
LOOP, SERVICE = "bare receive → send loop", "service"


async def send(hub: Hub, rate: float, seconds: float) -> int:
    """Send in real time, each replica on its own partition and later than the one before. Return the number of events."""
    readings = readings_in(rate, seconds)
    telemetry = hub.stand_in.namespace.hubs["telemetry"]
    queues = [list(bare_messages(Load(readings), replica, present_second())) for replica in range(REPLICAS)]
    sent, started = [0] * REPLICAS, time.monotonic()
    while min(sent) < readings:
        for replica, queue in enumerate(queues):
            due = int((time.monotonic() - started - replica * SPREAD_SECONDS) * rate / REPLICAS)
            if chunk := queue[sent[replica] : max(0, due)]:
                messages = [BareMessage({}, bare) for bare in chunk]
                said = iot_hub_says(replica, now_ms())
                telemetry.append(messages, partition=telemetry.partitions[replica], annotations=said)
                sent[replica] += len(chunk)
        await asyncio.sleep(TICK_SECONDS)
    return sum(sent)


def readings_in(rate: float, seconds: float) -> int:
    return int(rate * seconds / REPLICAS)


def latencies_ms(hub: Hub, since_ms: int, until_ms: float = math.inf) -> list[int]:
    """Sorted latencies of the clean hub's events whose origin was enqueued in this time."""
    telemetry, clean = (hub.stand_in.namespace.hubs[name] for name in ("telemetry", "clean"))
    latencies = []
    for entry in (entry for partition in clean.partitions for entry in partition.entries):
        origin = _origin(entry)
        _, partition, number = origin.split("/")
        log = telemetry.partitions[int(partition)]
        enqueued = log.entries[int(number) - log.first_sequence_number].enqueued_ms
        if since_ms <= enqueued <= until_ms:
            latencies.append(entry.enqueued_ms - enqueued)
    return sorted(latencies)


def _origin(entry: Entry) -> str:
    return str(decode("0", entry.message, 0, len(entry.message)).application_properties["dedup_origin"])


def percentile(ordered: Sequence[int], share: float) -> float:
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])


async def of_service(redis: Server, rate: float) -> list[int]:
    redis.clear()
    async with running_hub(REPLICAS) as hub, running_services(hub, redis.url) as running:
        since_ms = now_ms() + int(WARM_UP_SECONDS * 1000)
        await until_processed(running, await send(hub, rate, SECONDS))
        return latencies_ms(hub, since_ms)


async def of_loop(rate: float) -> list[int]:
    """The loop forwards every copy, and all of them are measured."""
    events = REPLICAS * readings_in(rate, SECONDS)
    async with running_hub(REPLICAS) as hub, running_loop("forward", hub, events, stamped=True) as process:
        process.begin()
        since_ms = now_ms() + int(WARM_UP_SECONDS * 1000)
        await send(hub, rate, SECONDS)
        await process.took()
        return latencies_ms(hub, since_ms)


async def latency(rounds: int) -> Section:
    section = Section(
        "Latency, input hub to clean hub, single readings",
        f"{SECONDS:.0f} s each, alternating, medians; three replicas {SPREAD_SECONDS * 1000:.0f} ms apart on three "
        f"partitions; without the first {WARM_UP_SECONDS:.0f} s. The loop forwards every copy, the service the winners; no "
        "ratio where the loop does not keep up.",
        ["events/s", "p50 ms", "p99 ms", "loop p50 ms", "loop p99 ms", "p50 ÷ loop", "p99 ÷ loop"],
    )
    lines: dict[str, list[float]] = {f"{who} {share}": [] for who in (SERVICE, LOOP) for share in ("p50", "p99")}
    with running_valkey() as redis:
        for rate in RATES:
            figures = await _figures(redis, rate, rounds)
            for line, figure in zip(lines.values(), figures, strict=True):
                line.append(figure)
            p50, p99, loop_p50, loop_p99 = figures
            is_overloaded = loop_p50 > OVERLOADED_MS
            ratios: list[Cell] = [None, None] if is_overloaded else [p50 / loop_p50, p99 / loop_p99]
            section.rows.append([float(rate), *figures, *ratios])
            if rate == 500:
                section.targets += [
                    at_most("latency p50 at 500 events/s, ms", 50, p50),
                    at_most("latency p99 at 500 events/s, ms", 150, p99),
                ]
    section.curves.append(Curve("latency", section.title, "events per second", "ms", list(RATES), lines, logarithmic=True))
    return section


async def _figures(redis: Server, rate: float, rounds: int) -> list[float]:
    """p50 and p99 of the service, then of the loop."""
    by_name: dict[str, list[list[int]]] = {SERVICE: [], LOOP: []}
    for _ in range(rounds):
        by_name[SERVICE].append(await of_service(redis, rate))
        by_name[LOOP].append(await of_loop(rate))
    return [middle([percentile(own, share) for own in by_name[who]]) for who in by_name for share in (0.5, 0.99)]
