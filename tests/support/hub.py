"""Sends events to a hub and reads them back through the unmodified SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient, PartitionContext

from sandbox.amqp.codec import decode
from sandbox.amqp.messages import APPLICATION_PROPERTIES, DATA, BareMessage, data_section, section, sections

TIMEOUT_SECONDS = 60.0
BATCH = "application/cloudevents-batch+json"


def event(body: bytes | str, content_type: str | None = None, **properties: Any) -> EventData:
    made = EventData(body)
    if content_type is not None:
        made.content_type = content_type
    made.properties = dict(properties.items())
    return made


def single(reading_id: str, body: bytes = b"{}", source: str = "urn:plant:a", **properties: Any) -> EventData:
    """A reading in binary mode."""
    attributes = {"cloudEvents_specversion": "1.0", "cloudEvents_type": "t", "cloudEvents_source": source}
    return event(body, "application/octet-stream", **attributes, cloudEvents_id=reading_id, **properties)


def element(reading_id: str, data: Any = None, source: str = "urn:plant:a") -> dict[str, Any]:
    """A reading as an element of a batch."""
    return {"specversion": "1.0", "type": "t", "source": source, "id": reading_id, "data": data}


def batch(elements: Iterable[Any], **properties: Any) -> EventData:
    return event(json.dumps(list(elements)), BATCH, **properties)


async def send(
    connection_string: str, events: Iterable[EventData], partition_id: str = "0", apart_seconds: float = 0.0
) -> None:
    async with EventHubProducerClient.from_connection_string(connection_string, retry_total=0) as producer:
        for item in events:
            await producer.send_batch([item], partition_id=partition_id, timeout=TIMEOUT_SECONDS)
            await asyncio.sleep(apart_seconds)


async def receive(
    connection_string: str, partition_id: str, count: int, consumer_group: str = "dedup", **options: Any
) -> list[EventData]:
    """The next `count` events from a start position (default: the beginning)."""
    received: list[EventData] = []
    done = asyncio.Event()

    async def on_batch(_: PartitionContext, events: list[EventData]) -> None:
        received.extend(events)
        if len(received) >= count:
            done.set()

    client = EventHubConsumerClient.from_connection_string(connection_string, consumer_group, retry_total=0)
    async with client:
        options = {"starting_position": "-1", **options}
        task = asyncio.create_task(client.receive_batch(on_batch, partition_id=partition_id, **options))
        try:
            await asyncio.wait_for(done.wait(), TIMEOUT_SECONDS)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return received


async def opening(connection_string: str, group: str = "dedup", **options: Any) -> None:
    """Opens a receiver of the SDK, which reads nothing. Through the public interface, errors of this are never told."""
    client: Any = EventHubConsumerClient.from_connection_string(connection_string, group, retry_total=0)
    async with client:
        options = {"partition_id": "0", "event_position": "-1", **options}
        consumer = client._create_consumer(group, on_event_received=None, **options)
        try:
            await consumer._open()
        finally:
            await consumer.close()


async def read_all(connection_string: str) -> list[EventData]:
    """Everything in the hub now."""
    async with EventHubConsumerClient.from_connection_string(connection_string, "dedup") as client:
        partitions = await client.get_partition_ids()
        states = [await client.get_partition_properties(partition) for partition in partitions]
    counts = {s["id"]: s["last_enqueued_sequence_number"] - s["beginning_sequence_number"] + 1 for s in states}
    reads = [receive(connection_string, partition, count) for partition, count in counts.items() if count]
    return [item for part in await asyncio.gather(*reads) for item in part]


def body(received: EventData) -> bytes:
    parts: Any = received.body
    return b"".join(parts)


def properties(received: EventData) -> dict[str, Any]:
    """Application properties by name."""
    return {name.decode() if isinstance(name, bytes) else name: value for name, value in received.properties.items()}


def elements(received: EventData) -> list[dict[str, Any]]:
    """The readings of a batch."""
    content: Any = received.body_as_json()
    return list(content)


def encoded_single(reading_id: str, body: bytes = b"{}", source: str = "urn:plant:a") -> BareMessage:
    """A reading in binary mode as a hub stores it, for tests that fill the log without a connection."""
    properties = {"cloudEvents_id": reading_id, "cloudEvents_source": source}
    return BareMessage({}, section(APPLICATION_PROPERTIES, properties) + data_section(body))


def encoded_id(message: bytes) -> str:
    """The id of a stored reading in binary mode."""
    return encoded_reading(message)[1]


def encoded_reading(message: bytes) -> tuple[str, str]:
    """The source and the id of a stored reading in binary mode."""
    for code, _, value_at, _ in sections(message):
        if code == APPLICATION_PROPERTIES:
            properties = decode(message, value_at)[0]
            return str(properties["cloudEvents_source"]), str(properties["cloudEvents_id"])
    raise ValueError("the message has no application properties")


def encoded_body(message: bytes) -> bytes:
    """The body of a stored message with one data section."""
    for code, _, value_at, _ in sections(message):
        if code == DATA:
            return bytes(decode(message, value_at)[0])
    raise ValueError("the message has no data section")
