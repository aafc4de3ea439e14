"""Reads the end of the clean hub back, through the Event Hubs SDK."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

from dedup_service.adapters.azure_errors import (
    CLOSE_TIMEOUT_SECONDS,
    close_quietly,
    is_refused,
    is_shut_out,
    problem,
    unavailable,
)
from dedup_service.adapters.eventhubs.below_sdk.amqp_types import make_decoding_total
from dedup_service.adapters.eventhubs.below_sdk.attaching import try_to_attach
from dedup_service.adapters.eventhubs.below_sdk.opening import tell_failed_opening
from dedup_service.adapters.eventhubs.input import EventHubInput, to_input_event
from dedup_service.config.hubs import OutputConfig
from dedup_service.errors import ConfigurationError, Dependency, DependencyKind, ShutOutError, UnavailableError
from dedup_service.ports.hubs import PartitionReader, PartitionState, StartPosition

logger = logging.getLogger(__name__)

PREFETCH = 3000
BATCH_SIZE = 1000
See = Callable[[int, Mapping[str, Any]], None]
REBUILD_PREFETCH = 300
"""All of the window is read, by several readers at once; what comes over WebSocket is bounded by this number alone."""


class EventHubTail:
    """Needs the right to listen, and a consumer group, in which a partition allows either five readers at a time or one with
    an epoch ("owner level" in the SDK), which ends all others.

    It reads without an epoch, so that several pods can read the same partition at once, as after a crash they do. Where
    somebody else's readers are in the way, a takeover would wait for ever, so it comes with an epoch then, and ends them;
    they connect again by themselves when it has finished. Its epoch is the time in ns at which this process began: above
    those of others, who begin at 0 or use ticks of 100 ns; and different for each pod, so that two that meet this way do not
    end each other in turns. The younger one reads, the older one is refused and tries again.

    Source: https://learn.microsoft.com/archive/blogs/gyan/event-hubs-receiver-epoch
    """

    def __init__(
        self, connect: Callable[[], EventHubConsumerClient], output: OutputConfig, *, timeout_seconds: float
    ) -> None:
        make_decoding_total()
        self._client = connect()
        tell_failed_opening(self._client)
        kind = DependencyKind.CLEAN_HUB_READING
        self._hub = EventHubInput(
            connect,
            output.address.namespace,
            output.name,
            prefetch=REBUILD_PREFETCH,
            batch_size=REBUILD_PREFETCH,
            kind=kind,
            reading=kind,
        )
        self._output = output
        self._dependency = Dependency(DependencyKind.CLEAN_HUB_READING, output.name)
        self._timeout = timeout_seconds
        self._epoch = time.time_ns()
        self._locks: dict[str, asyncio.Lock] = {}
        self._receiving: dict[str, asyncio.Task[None]] = {}

    async def try_reading(self) -> list[str]:
        try:
            async with unavailable(self._dependency):
                first, *_ = await self._client.get_partition_ids()
                try:
                    await try_to_attach(self._client, first)
                except Exception as error:
                    if is_shut_out(error):
                        return [self._output.reading]
                    raise
        except UnavailableError as error:
            if error.refused:
                self._raise_wrong_setting(error.problem)
            raise
        return []

    def _raise_wrong_setting(self, problem: str) -> None:
        setting, example = self._output.group_setting
        needed = "it must exist, and the connection string or the identity must have the right to listen"
        raise ConfigurationError(setting, f"{self._output.reading} can't be read: {needed} ({problem})", example) from None

    async def read(self, partition_id: str, after: int, see: See) -> int:
        async with unavailable(self._dependency):
            partition = await self._client.get_partition_properties(partition_id)
        first, end = int(partition["beginning_sequence_number"]), int(partition["last_enqueued_sequence_number"])
        if end <= after:
            return after + 1
        if partition["is_empty"] or first > end:
            return end + 1
        lock = self._locks.setdefault(partition_id, asyncio.Lock())
        await lock.acquire()
        try:
            await self._receive_as_needed(partition_id, max(after, first - 1), end, see)
            return max(after + 1, first)
        finally:
            self._release_when_closed(partition_id, lock)

    async def _receive_as_needed(self, partition_id: str, after: int, end: int, see: See) -> None:
        try:
            await self._receive(partition_id, after, end, see, epoch=None)
            return
        except ShutOutError as error:
            logger.warning(
                "other readers of %s are ended, to look up what was published; set %s to a consumer group of its own: %s",
                self._output.reading,
                self._output.group_setting[0],
                error.problem,
            )
        await self._stop_receiving(partition_id)
        await self._receive(partition_id, after, end, see, epoch=self._epoch)

    async def _stop_receiving(self, partition_id: str) -> None:
        """The client refuses to receive from a partition while an earlier receive from it is still closing."""
        receiving = self._receiving[partition_id]
        receiving.cancel()
        await asyncio.wait({receiving}, timeout=CLOSE_TIMEOUT_SECONDS)

    async def _receive(self, partition_id: str, after: int, end: int, see: See, epoch: int | None) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        progress = asyncio.Event()

        async def on_batch(_: PartitionContext, events: list[EventData]) -> None:
            # Decoded as on the way in: an event whose properties the SDK can't read would look as if it were not there.
            for event in events:
                read = to_input_event(partition_id, event)
                see(read.sequence_number, read.application_properties)
            progress.set()
            if events and (events[-1].sequence_number or 0) >= end and not ended.done():
                ended.set_result(None)

        async def on_error(_: PartitionContext | None, error: Exception) -> None:
            if not ended.done():
                kind = ShutOutError if is_shut_out(error) else UnavailableError
                ended.set_exception(kind(self._dependency, problem(error), refused=is_refused(error)))

        self._receiving[partition_id] = asyncio.create_task(
            self._client.receive_batch(
                on_batch,
                on_error=on_error,
                partition_id=partition_id,
                owner_level=epoch,
                starting_position=after,
                prefetch=PREFETCH,
                max_batch_size=BATCH_SIZE,
            )
        )
        await self._wait(ended, progress)

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
                raise UnavailableError(self._dependency, f"no event within {self._timeout:.0f} s")
        await ended

    async def partition_state(self, partition_id: str) -> PartitionState:
        return await self._hub.partition_state(partition_id)

    def open_reader(self, partition_id: str, start: StartPosition, *, by_force: bool = False) -> PartitionReader:
        return self._hub.open(partition_id, start, owner_level=self._epoch if by_force else None)

    async def close(self) -> None:
        await asyncio.gather(close_quietly(self._client), self._hub.close())
