"""What the peers of the benchmark have in common: a process that reads the input hub from its positions to the end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

READY, VARIABLE = "ready", "BENCH_PEER"
NEVER = "-1"
"""In place of a sequence number: read from the beginning."""


def options() -> dict[str, Any]:
    chosen: dict[str, Any] = json.loads(os.environ[VARIABLE])
    return chosen


class Peer(ABC):
    """Prints READY, waits for a line, and prints a JSON line with events, seconds and CPU seconds since its first event."""

    def __init__(self) -> None:
        self._left = 0
        self._received = 0
        self._began = (0.0, 0.0)
        self._finished = asyncio.Event()

    @abstractmethod
    async def position(self, partition_id: str) -> str:
        """The last sequence number that an earlier process has finished, or NEVER."""

    @abstractmethod
    async def handle(self, context: PartitionContext, events: list[EventData]) -> None:
        """Makes these events part of the clean stream, and keeps the position behind them."""

    async def _on_batch(self, context: PartitionContext, events: list[EventData]) -> None:
        if not events:
            return
        if not self._received:
            self._began = time.monotonic(), time.process_time()
        await self.handle(context, events)
        self._received += len(events)
        self._left -= len(events)
        if self._left <= 0:
            self._finished.set()

    async def run(self, client: EventHubConsumerClient) -> None:
        chosen = options()
        print(READY, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        starts: dict[str, Any] = {}
        for partition in await client.get_partition_ids():
            position = int(await self.position(partition))
            state = await client.get_partition_properties(partition)
            self._left += state["last_enqueued_sequence_number"] - position
            starts[partition] = position if position >= 0 else NEVER
        receiving = asyncio.create_task(
            client.receive_batch(
                self._on_batch,
                prefetch=chosen["prefetch"],
                max_batch_size=chosen["batch_size"],
                starting_position=starts,
            )
        )
        if self._left > 0:
            await self._finished.wait()
        seconds, cpu = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        print(json.dumps({"events": self._received, "seconds": seconds, "cpu": cpu}), flush=True)
        receiving.cancel()
