"""One reading that has just been published, and the request that tells what became of it."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

READ_SECONDS = 10.0


async def newest_reading(connection_string: str, consumer_group: str) -> tuple[str, str] | None:
    """Source and id of the newest reading in the clean hub; None while it is empty. Raises TimeoutError."""
    client = EventHubConsumerClient.from_connection_string(connection_string, consumer_group)
    async with client:
        partitions = [await client.get_partition_properties(name) for name in await client.get_partition_ids()]
        newest = max(partitions, key=lambda partition: partition["last_enqueued_time_utc"])
        if newest["is_empty"]:
            return None
        return _last_reading(await _event_at(client, newest["id"], newest["last_enqueued_sequence_number"]))


async def _event_at(client: EventHubConsumerClient, partition: str, sequence_number: int) -> EventData:
    found: asyncio.Future[EventData] = asyncio.get_running_loop().create_future()

    async def on_event(_: PartitionContext, event: EventData | None) -> None:
        if event is not None and not found.done():
            found.set_result(event)

    receiving = asyncio.create_task(
        client.receive(on_event, partition_id=partition, starting_position=sequence_number, starting_position_inclusive=True)
    )
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await found
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)


def _last_reading(event: EventData) -> tuple[str, str]:
    """Of a CloudEvents batch, or of a single one in binary mode."""
    if "batch" in (event.content_type or ""):
        readings: Any = event.body_as_json()
        last = readings[-1]
        return last["source"], last["id"]
    properties = event.properties or {}
    return _text(properties[b"cloudEvents_source"]), _text(properties[b"cloudEvents_id"])


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def request_for(address: str, source: str, reading_id: str) -> str:
    """To paste into a shell: whatever the source is, nothing in it is special there, since it is percent-encoded."""
    return f"curl '{address}/v1/keys?{urlencode({'source': source, 'id': reading_id})}'"
