"""Compares our publisher with EventDataBatch.add and send_batch of the SDK: the same events, the same hub."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from azure.eventhub.aio import EventHubProducerClient

from benchmarks.events import Load, input_log
from benchmarks.results import Section, at_least, middle
from benchmarks.stage import running_hub
from dedup_service.adapters.eventhubs.below_sdk.decoding import decode
from dedup_service.adapters.eventhubs.publisher import EventHubPublisher, to_event_data
from dedup_service.core.input_log import InputLog
from dedup_service.core.outgoing import OutgoingEvent, kept_properties, outgoing
from dedup_service.errors import Dependency, DependencyKind

CLEAN_HUB = Dependency(DependencyKind.CLEAN_HUB)

EVENTS = 20_000
OURS, SDK = "our publisher", "EventDataBatch.add + send_batch"


def clean_events() -> list[OutgoingEvent]:
    """The events that the service makes from those of IoT Hub."""
    made = []
    for entry in input_log(Load(EVENTS, replicas=1, partitions=1))["0"]:
        event = decode("0", entry.message, 0, len(entry.message))
        properties = {
            **kept_properties(event, frozenset()),
            "dedup_origin": InputLog.of(1, event.partition_id).event_text(event.sequence_number),
            "dedup_indexes": "0",
        }
        made.append(outgoing(event, event.body, event.content_type, None, properties, 1))
    return made


async def ours(connection_string: str, events: list[OutgoingEvent]) -> None:
    publisher = EventHubPublisher(
        partial(EventHubProducerClient.from_connection_string, connection_string),
        CLEAN_HUB,
        send_timeout_seconds=30.0,
    )
    try:
        while events:
            events = events[await publisher.publish("0", events) :]
    finally:
        await publisher.close()


async def sdk(connection_string: str, events: list[OutgoingEvent]) -> None:
    async with EventHubProducerClient.from_connection_string(connection_string) as client:
        batch = await client.create_batch(partition_id="0")
        for event in events:
            data = to_event_data(event)
            try:
                batch.add(data)
            except ValueError:
                await client.send_batch(batch)
                batch = await client.create_batch(partition_id="0")
                batch.add(data)
        await client.send_batch(batch)


def _measured(send: Callable[[str, list[OutgoingEvent]], Any], connection_string: str, answer: Any) -> None:
    """Runs in a process of its own, so that its CPU time is the sender's alone."""
    events = clean_events()
    before, started = time.process_time(), time.monotonic()
    asyncio.run(send(connection_string, events))
    answer.put((time.process_time() - before, time.monotonic() - started))


async def publishing(rounds: int) -> Section:
    section = Section(
        "Publishing, single readings",
        f"{EVENTS:,} clean events with IoT Hub's and the service's properties, to one partition; connecting included.",
        ["", "CPU µs/event", "events/CPU second", "events/s"],
    )
    context = multiprocessing.get_context("spawn")
    results: dict[str, list[tuple[float, float]]] = {SDK: [], OURS: []}
    async with running_hub(1) as hub:
        address = hub.stand_in.connection_string("clean")
        for _ in range(rounds):
            for name, send in ((SDK, sdk), (OURS, ours)):
                answer = context.Queue()
                process = context.Process(target=_measured, args=(send, address, answer))
                process.start()
                results[name].append(await asyncio.to_thread(answer.get))
                process.join()
    cpu = {name: middle([used for used, _ in took]) for name, took in results.items()}
    for name, took in results.items():
        seconds = middle([seconds for _, seconds in took])
        section.rows.append([name, cpu[name] / EVENTS * 1e6, EVENTS / cpu[name], EVENTS / seconds])
    section.targets.append(at_least("publishing: events per CPU second, ours ÷ the SDK's", 2.0, cpu[SDK] / cpu[OURS]))
    return section
