"""Load for a chaos run: every reading is sent three times, singly and in batches, in bursts, and with delay."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient

REPLICAS = 3
SOURCES = 12
BATCH = "application/cloudevents-batch+json"
SEND_TIMEOUT_SECONDS = 30.0

ReadingKey = tuple[str, str, int]


@dataclass
class Load:
    """Emits `rate` readings per second on average; replica n sends to partition n, the last replica `late_seconds` late."""

    connection_string: str
    rate: float
    late_seconds: float
    rng: random.Random
    emitted: dict[ReadingKey, int] = field(default_factory=dict)
    """Source time (ns) of each emitted reading, for the auditor."""
    copies: int = 0
    _queues: list[deque[tuple[float, dict[str, Any]]]] = field(default_factory=lambda: [deque() for _ in range(REPLICAS)])
    _stopped: bool = False

    async def run(self, stop: asyncio.Event) -> None:
        """Emit until `stop` is set, then send what is still queued."""
        senders = [asyncio.create_task(self._send(replica)) for replica in range(REPLICAS)]
        number = 0
        while not stop.is_set():
            burst = self.rng.choice([0, 1, 1, 5])
            for _ in range(int(self.rate * burst / 1.75)):
                self._emit(number)
                number += 1
            await asyncio.sleep(1.0)
        self._stopped = True
        await asyncio.gather(*senders)

    def _emit(self, number: int) -> None:
        name, sequence = f"source-{number % SOURCES}", number // SOURCES
        self.emitted[name, "load", sequence] = time.time_ns()
        source = f"urn:load#nsu=urn:load;s={name}"
        event = {
            "specversion": "1.0",
            "type": "reading",
            "source": source,
            "id": hashlib.sha256(f"{source}|{sequence}".encode()).hexdigest()[:32],
            "data": {"epoch": "load", "sequence": sequence, "value": number},
        }
        now = time.monotonic()
        for replica, queue in enumerate(self._queues):
            late = self.late_seconds if replica == REPLICAS - 1 else self.rng.random()
            queue.append((now + late, event))

    async def _send(self, replica: int) -> None:
        queue = self._queues[replica]
        client = EventHubProducerClient.from_connection_string(self.connection_string)
        async with client:
            while queue or not self._stopped:
                due: list[dict[str, Any]] = []
                while queue and (self._stopped or queue[0][0] <= time.monotonic()) and len(due) < 200:
                    due.append(queue.popleft()[1])
                if due:
                    await self._send_events(client, replica, due)
                else:
                    await asyncio.sleep(0.05)

    async def _send_events(self, client: EventHubProducerClient, replica: int, events: list[dict[str, Any]]) -> None:
        batch = await client.create_batch(partition_id=str(replica))
        while events:
            size = 1 if replica == 0 else self.rng.randint(1, 30)
            chunk, events = events[:size], events[size:]
            batch.add(_single(chunk[0], replica) if size == 1 else _batched(chunk, replica))
            self.copies += len(chunk)
        await client.send_batch(batch, timeout=SEND_TIMEOUT_SECONDS)


def _single(event: dict[str, Any], replica: int) -> EventData:
    made = EventData(json.dumps(event["data"]))
    made.content_type = "application/json"
    made.properties = {f"cloudEvents_{name}": value for name, value in event.items() if name != "data"}
    made.properties["cloudEvents_replica"] = f"replica-{replica}"
    return made


def _batched(events: list[dict[str, Any]], replica: int) -> EventData:
    made = EventData(json.dumps(events))
    made.content_type = BATCH
    made.properties = {"cloudEvents_replica": f"replica-{replica}"}
    return made
