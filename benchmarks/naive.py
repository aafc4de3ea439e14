"""What most people write first, as a process: the SDK's consumer, `SET NX` for each reading, the SDK's producer.

    python -m benchmarks.naive single|pipelined     (options as JSON in the environment variable BENCH_PEER)

`single` asks Redis for each reading, `pipelined` once for all readings of a batch. Its position follows each batch that was
sent. What is claimed and not yet sent when it is killed looks like a duplicate afterwards, and is lost.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any, cast

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient, PartitionContext
from redis.asyncio import Redis

from benchmarks.peer_process import NEVER, Peer, options

WINDOW_SECONDS = 4 * 3600


def readings_of(event: EventData) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Each reading's key, with the reading where the event is a batch."""
    if "batch" in (event.content_type or ""):
        items: Any = event.body_as_json()
        for item in items:
            yield f"{item['source']}|{item['id']}", item
    else:
        properties: Any = event.properties
        yield f"{properties[b'cloudEvents_source'].decode()}|{properties[b'cloudEvents_id'].decode()}", None


def body_of(event: EventData) -> bytes:
    return b"".join(cast("Iterable[bytes]", event.body))


def filtered(event: EventData, items: list[dict[str, Any] | None]) -> EventData:
    outgoing = EventData(body_of(event) if None in items else json.dumps(items))
    if event.content_type:
        outgoing.content_type = event.content_type
    outgoing.properties = event.properties or {}
    return outgoing


class Naive(Peer):
    def __init__(self, redis: Redis, producer: EventHubProducerClient, prefix: str, *, pipelined: bool) -> None:
        """`prefix`: of its keys in Redis."""
        super().__init__()
        self._prefix = prefix
        self._redis = redis
        self._producer = producer
        self._pipelined = pipelined

    async def position(self, partition_id: str) -> str:
        stored: Any = await self._redis.get(f"{self._prefix}position:{partition_id}")
        return str(stored.decode()) if stored else NEVER

    async def _are_new(self, keys: list[str]) -> list[bool]:
        if not self._pipelined:
            return [bool(await self._redis.set(key, 1, nx=True, ex=WINDOW_SECONDS)) for key in keys]
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.set(key, 1, nx=True, ex=WINDOW_SECONDS)
        return [bool(answer) for answer in await pipeline.execute()]

    async def handle(self, context: PartitionContext, events: list[EventData]) -> None:
        found = [(event, list(readings_of(event))) for event in events]
        are_new = iter(await self._are_new([self._prefix + key for _, readings in found for key, _ in readings]))
        winners = [(event, [item for _, item in readings if next(are_new)]) for event, readings in found]
        batch = await self._producer.create_batch(partition_id=context.partition_id)
        for event, items in winners:
            if not items:
                continue
            outgoing = filtered(event, items)
            try:
                batch.add(outgoing)
            except ValueError:
                await self._producer.send_batch(batch)
                batch = await self._producer.create_batch(partition_id=context.partition_id)
                batch.add(outgoing)
        if len(batch):
            await self._producer.send_batch(batch)
        await self._redis.set(f"{self._prefix}position:{context.partition_id}", events[-1].sequence_number or 0)


async def main() -> None:
    chosen = options()
    producer = EventHubProducerClient.from_connection_string(chosen["output"])
    client = EventHubConsumerClient.from_connection_string(chosen["input"], chosen["consumer_group"])
    async with producer, client, Redis.from_url(chosen["redis"]) as redis:
        await Naive(redis, producer, chosen["prefix"], pipelined=sys.argv[1] == "pipelined").run(client)


if __name__ == "__main__":
    asyncio.run(main())
