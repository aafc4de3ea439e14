"""The baselines, as processes: they measure what the SDK alone costs for the same events.

    python -m benchmarks.loops receive|forward     (options as JSON in the environment variable BENCH_LOOP)

`receive` receives events and discards them. `forward` sends each of them as a new event, without Redis and without
inspecting it; with `stamped`, its origin is a property. Prints one JSON line with the events, seconds and CPU seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any, cast

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient, PartitionContext

READY = "ready"
ORIGIN = "dedup_origin"


class Loop:
    def __init__(self, options: dict[str, Any], producer: EventHubProducerClient | None) -> None:
        self._expected: int = options["events"]
        self._options = options
        self._producer = producer
        self._received = 0
        self._began: tuple[float, float] | None = None
        self._finished = asyncio.Event()

    async def on_batch(self, context: PartitionContext, events: list[EventData]) -> None:
        if self._began is None:
            self._began = time.monotonic(), time.process_time()
        if self._producer is not None:
            await self._forward(context.partition_id, events)
        self._received += len(events)
        if self._received >= self._expected:
            self._finished.set()

    async def _forward(self, partition_id: str, events: list[EventData]) -> None:
        assert self._producer is not None
        batch = await self._producer.create_batch(partition_id=partition_id)
        for event in events:
            outgoing = EventData(b"".join(cast("Iterable[bytes]", event.body)))
            outgoing.properties = event.properties
            if self._options["stamped"]:
                outgoing.properties = {**event.properties, ORIGIN: f"0/{partition_id}/{event.sequence_number}"}
            try:
                batch.add(outgoing)
            except ValueError:
                await self._producer.send_batch(batch)
                batch = await self._producer.create_batch(partition_id=partition_id)
                batch.add(outgoing)
        await self._producer.send_batch(batch)

    async def run(self) -> None:
        client = EventHubConsumerClient.from_connection_string(self._options["input"], self._options["consumer_group"])
        async with client:
            for partition in await client.get_partition_ids():
                await client.get_partition_properties(partition)
            print(READY, flush=True)
            sys.stdin.readline()
            receiving = asyncio.create_task(
                client.receive_batch(
                    self.on_batch,
                    prefetch=self._options["prefetch"],
                    max_batch_size=self._options["batch_size"],
                    starting_position="-1",
                )
            )
            await self._finished.wait()
            assert self._began is not None
            seconds, cpu = time.monotonic() - self._began[0], time.process_time() - self._began[1]
            print(json.dumps({"events": self._received, "seconds": seconds, "cpu": cpu}), flush=True)
            receiving.cancel()


async def main() -> None:
    options = json.loads(os.environ["BENCH_LOOP"])
    if sys.argv[1] == "receive":
        await Loop(options, None).run()
        return
    async with EventHubProducerClient.from_connection_string(options["output"]) as producer:
        await Loop(options, producer).run()


if __name__ == "__main__":
    asyncio.run(main())
