"""From the input hub's enqueued time to the clean hub's, by the stand-in's one clock."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from benchmarks.events import Load, bare_messages, iot_hub_says
from benchmarks.results import Curve, Section, at_most
from benchmarks.stage import Hub, running_hub, running_services, running_valkey, until_processed
from dedup_service.adapters.event_decoding import decode
from sandbox.amqp.messages import BareMessage
from sandbox.hub.log import Entry, now_ms

RATES = (100, 500, 5000)
"""Events per second, all replicas together."""
SECONDS, WARM_UP_SECONDS = 12.0, 3.0
REPLICAS = 3
TICK_SECONDS = 0.005
SPREAD_SECONDS = 0.02
"""Between the copies of one reading."""


async def send(hub: Hub, rate: float, seconds: float) -> int:
    """Each replica on its own partition, one behind the other, in real time. Returns how many events there are."""
    readings = int(rate * seconds / REPLICAS)
    telemetry = hub.stand_in.namespace.hubs["telemetry"]
    queues = [list(bare_messages(Load(readings), replica)) for replica in range(REPLICAS)]
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


def latencies_ms(hub: Hub, since_ms: int, until_ms: float = math.inf) -> list[int]:
    """Of the readings that were enqueued in between."""
    telemetry, clean = (hub.stand_in.namespace.hubs[name] for name in ("telemetry", "clean"))
    found = []
    for entry in (entry for partition in clean.partitions for entry in partition.entries):
        origin = _origin(entry)
        _, partition, number = origin.split("/")
        log = telemetry.partitions[int(partition)]
        enqueued = log.entries[int(number) - log.first_sequence_number].enqueued_ms
        if since_ms <= enqueued <= until_ms:
            found.append(entry.enqueued_ms - enqueued)
    return sorted(found)


def _origin(entry: Entry) -> str:
    return str(decode("0", entry.message, 0, len(entry.message)).application_properties["dedup_origin"])


def percentile(ordered: Sequence[int], share: float) -> float:
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])


async def latency(rounds: int) -> Section:
    section = Section(
        "Latency, input hub to clean hub, single readings",
        f"{SECONDS:.0f} s each, three replicas {SPREAD_SECONDS * 1000:.0f} ms apart on three partitions; of the winners, "
        f"without the first {WARM_UP_SECONDS:.0f} s.",
        ["events/s", "p50 ms", "p99 ms", "readings"],
    )
    medians, tails = [], []
    with running_valkey() as redis:
        for rate in RATES:
            redis.clear()
            async with running_hub(REPLICAS) as hub, running_services(hub, redis.url) as running:
                since_ms = now_ms() + int(WARM_UP_SECONDS * 1000)
                await until_processed(running, await send(hub, rate, SECONDS))
                found = latencies_ms(hub, since_ms)
            medians.append(percentile(found, 0.5))
            tails.append(percentile(found, 0.99))
            section.rows.append([float(rate), medians[-1], tails[-1], float(len(found))])
            if rate == 500:
                section.targets += [
                    at_most("latency p50 at 500 events/s, ms", 50, medians[-1]),
                    at_most("latency p99 at 500 events/s, ms", 150, tails[-1]),
                ]
    lines = {"p50": medians, "p99": tails}
    section.curves.append(Curve("latency", section.title, "events per second", "ms", list(RATES), lines, logarithmic=True))
    return section
