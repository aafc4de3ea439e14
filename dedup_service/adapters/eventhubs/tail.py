"""Reads the end of the clean hub back, through the Event Hubs SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

from dedup_service.adapters.azure_errors import close_quietly, problem, unavailable
from dedup_service.adapters.eventhubs.below_sdk.amqp_types import make_decoding_total
from dedup_service.adapters.eventhubs.input import to_input_event
from dedup_service.errors import Dependency, DependencyKind, UnavailableError
from dedup_service.ports import TailEvents

DEPENDENCY = Dependency(DependencyKind.CLEAN_HUB_READING)
PREFETCH = 3000
BATCH_SIZE = 1000


class EventHubTail:
    """Needs the right to listen, and a consumer group, in which a partition allows five readers at a time."""

    def __init__(self, client: EventHubConsumerClient, *, timeout_seconds: float) -> None:
        make_decoding_total()
        self._client = client
        self._timeout = timeout_seconds
        self._locks: dict[str, asyncio.Lock] = {}
        self._receiving: dict[str, asyncio.Task[None]] = {}

    async def read(self, partition_id: str, after: int) -> TailEvents:
        async with unavailable(DEPENDENCY):
            partition = await self._client.get_partition_properties(partition_id)
        first, end = partition["beginning_sequence_number"], partition["last_enqueued_sequence_number"]
        if end <= after:
            return TailEvents([])
        if partition["is_empty"] or first > end:
            return TailEvents([], is_complete=False)
        lock = self._locks.setdefault(partition_id, asyncio.Lock())
        await lock.acquire()
        try:
            properties = await self._receive(partition_id, max(after, first - 1), end)
            return TailEvents(properties, is_complete=first <= after + 1)
        finally:
            self._release_when_closed(partition_id, lock)

    async def _receive(self, partition_id: str, after: int, end: int) -> list[Mapping[str, Any]]:
        properties: list[Mapping[str, Any]] = []
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        progress = asyncio.Event()

        async def on_batch(_: PartitionContext, events: list[EventData]) -> None:
            # Decoded as on the way in: an event whose properties the SDK can't read would look as if it were not there.
            properties.extend(to_input_event(partition_id, event).application_properties for event in events)
            progress.set()
            if events and (events[-1].sequence_number or 0) >= end and not ended.done():
                ended.set_result(None)

        async def on_error(_: PartitionContext | None, error: Exception) -> None:
            if not ended.done():
                ended.set_exception(UnavailableError(DEPENDENCY, problem(error)))

        self._receiving[partition_id] = asyncio.create_task(
            self._client.receive_batch(
                on_batch,
                on_error=on_error,
                partition_id=partition_id,
                starting_position=after,
                prefetch=PREFETCH,
                max_batch_size=BATCH_SIZE,
            )
        )
        await self._wait(ended, progress)
        return properties

    def _release_when_closed(self, partition_id: str, lock: asyncio.Lock) -> None:
        """Frees the partition once the SDK has closed its receiver. That takes a while, and a takeover does not wait for
        it."""
        receiving = self._receiving.pop(partition_id, None)
        if receiving is None:
            lock.release()
        else:
            receiving.add_done_callback(lambda _: lock.release())
            receiving.cancel()

    async def _wait(self, ended: asyncio.Future[None], progress: asyncio.Event) -> None:
        """Waits for the end, and gives up on a reader that makes no progress within the time-out."""
        while not ended.done():
            progress.clear()
            moved = asyncio.create_task(progress.wait())
            waiting: set[asyncio.Future[Any]] = {ended, moved}
            await asyncio.wait(waiting, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
            if not ended.done() and not progress.is_set():
                raise UnavailableError(DEPENDENCY, f"no event within {self._timeout:.0f} s")
        await ended

    async def close(self) -> None:
        await close_quietly(self._client)
