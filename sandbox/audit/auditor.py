"""The auditor: compares what the plant emitted with what the clean hub holds, and uses nothing else.

It shares no code with the edge or the service: it recognises a reading by the plant's own counter in the payload, not by
the id that the edge assigned.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any
from urllib.parse import unquote

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

READ_TIMEOUT_SECONDS = 60.0

ReadingKey = tuple[str, str, int]
"""(source, epoch, sequence), as the plant counts."""


@dataclass(frozen=True, slots=True)
class Verdict:
    plant_readings: int
    clean_readings: int
    lost: int
    clean_duplicates: int
    unknown: int
    """Readings in the clean stream that the plant never emitted."""
    latency_p50_ms: float
    latency_p99_ms: float
    lost_examples: list[ReadingKey]

    @property
    def is_clean(self) -> bool:
        return self.plant_readings > 0 and self.lost == 0 and self.clean_duplicates == 0 and self.unknown == 0


def read_journal(path: Path) -> dict[ReadingKey, int]:
    """Source time (ns) of each emitted reading."""
    emitted: dict[ReadingKey, int] = {}
    for line in path.read_text().splitlines():
        item = json.loads(line)
        if item["sequence"] is not None:  # of a machine that had dropped out, which counts nothing
            emitted[item["source"], item["epoch"], item["sequence"]] = item["time_ns"]
    return emitted


def readings_in(event: EventData) -> Iterator[ReadingKey]:
    """The readings of a clean event: a CloudEvents batch, or a single one in binary mode."""
    if "batch" in (event.content_type or ""):
        items: Any = event.body_as_json()
        for item in items:
            yield _key(item["source"], item["data"])
    else:
        properties = event.properties
        yield _key(properties[b"cloudEvents_source"].decode(), event.body_as_json())


def _key(source: str, data: Any) -> ReadingKey:
    return unquote(source.rpartition(";s=")[2]), data["epoch"], data["sequence"]


async def read_clean_hub(connection_string: str, consumer_group: str) -> list[tuple[ReadingKey, int]]:
    """Every reading up to the current end of the hub, with its enqueued time (ns since 1970)."""
    events = await read_hub(connection_string, consumer_group)
    return [(key, enqueued_ns(event)) for event in events for key in readings_in(event)]


async def read_hub(connection_string: str, consumer_group: str) -> list[EventData]:
    """Every event up to the current end of the hub."""
    client = EventHubConsumerClient.from_connection_string(connection_string, consumer_group)
    async with client:
        partitions = await client.get_partition_ids()
        by_partition = await asyncio.gather(*(_read_partition(client, partition) for partition in partitions))
    return [event for events in by_partition for event in events]


async def input_ends(connection_string: str, consumer_group: str = "audit") -> dict[str, int]:
    """By partition: the sequence number of its last event; -1 where there is none."""
    client = EventHubConsumerClient.from_connection_string(connection_string, consumer_group)
    async with client:
        partitions = await client.get_partition_ids()
        states = [await client.get_partition_properties(partition) for partition in partitions]
    return {state["id"]: state["last_enqueued_sequence_number"] for state in states}


def enqueued_ns(event: EventData) -> int:
    assert event.enqueued_time is not None
    return int(event.enqueued_time.timestamp() * 1000) * 1_000_000


async def _read_partition(client: EventHubConsumerClient, partition: str) -> list[EventData]:
    last_sequence_number = (await client.get_partition_properties(partition))["last_enqueued_sequence_number"]
    if last_sequence_number < 0:
        return []
    received: list[EventData] = []
    done = asyncio.Event()

    async def on_batch(_: PartitionContext, events: list[EventData]) -> None:
        received.extend(events)
        if any(event.sequence_number == last_sequence_number for event in events):
            done.set()

    receiving = asyncio.create_task(
        client.receive_batch(on_batch, partition_id=partition, starting_position="-1", prefetch=3000)
    )
    try:
        await asyncio.wait_for(done.wait(), READ_TIMEOUT_SECONDS)
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    return [e for e in received if e.sequence_number is not None and e.sequence_number <= last_sequence_number]


def audit(emitted: dict[ReadingKey, int], clean: list[tuple[ReadingKey, int]]) -> Verdict:
    times = Counter(key for key, _ in clean)
    lost = [key for key in emitted if key not in times]
    latencies = [(enqueued_ns - emitted[key]) / 1e6 for key, enqueued_ns in clean if key in emitted]
    cuts = quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
    return Verdict(
        plant_readings=len(emitted),
        clean_readings=len(clean),
        lost=len(lost),
        clean_duplicates=sum(count - 1 for count in times.values()),
        unknown=sum(key not in emitted for key in times),
        latency_p50_ms=round(cuts[49], 1),
        latency_p99_ms=round(cuts[98], 1),
        lost_examples=lost[:5],
    )
