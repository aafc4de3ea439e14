"""Readers of the clean hub that share the service's consumer group, as they should not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from azure.eventhub.aio import EventHubConsumerClient

from sandbox.hub.stand_in import StandIn
from tests.support.hub import TIMEOUT_SECONDS


class Reader:
    """Somebody else's reader, such as an EventProcessor's. It connects again at once whenever it is disconnected."""

    def __init__(self, connection_string: str, partition_id: str, owner_level: int | None) -> None:
        self._connection_string = connection_string
        self._partition_id = partition_id
        self._owner_level = owner_level
        self.connections = 0

    async def run(self) -> None:
        while True:
            client = EventHubConsumerClient.from_connection_string(self._connection_string, "dedup", retry_total=0)
            ended = asyncio.Event()

            async def on_error(_: object, __: Exception, ended: asyncio.Event = ended) -> None:
                ended.set()

            async def on_batch(*_: object) -> None:
                return

            receiving = asyncio.create_task(
                client.receive_batch(
                    on_batch, on_error=on_error, partition_id=self._partition_id, owner_level=self._owner_level
                )
            )
            self.connections += 1
            try:
                await ended.wait()
            finally:
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)
                await client.close()


@asynccontextmanager
async def others(
    stand_in: StandIn, count: int, owner_level: int | None, partition_ids: Sequence[str] = ("0",)
) -> AsyncIterator[list[Reader]]:
    """Somebody else's readers of the clean hub, `count` for each partition, in the service's consumer group."""
    clean = stand_in.connection_string("clean")
    readers = [Reader(clean, partition, owner_level) for partition in partition_ids for _ in range(count)]
    tasks = [asyncio.create_task(reader.run()) for reader in readers]
    partitions = [stand_in.namespace.hubs["clean"].partitions[int(partition)] for partition in partition_ids]
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while any(len(partition.listeners) < count for partition in partitions):
                await asyncio.sleep(0.01)
        yield readers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=TIMEOUT_SECONDS)
