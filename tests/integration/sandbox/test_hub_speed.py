"""The stand-in is used for measurements, so it must be much faster than what is measured with it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import psutil
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

EVENTS = 4_000
CHUNK = 500


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def fill(connection_string: str) -> None:
    async with EventHubProducerClient.from_connection_string(connection_string) as producer:
        for _ in range(EVENTS // CHUNK):
            batch = await producer.create_batch(partition_id="0")
            for _ in range(CHUNK):
                event = EventData(b"x" * 100)
                event.properties = {"cloudEvents_id": "0" * 32, "cloudEvents_source": "urn:plant:press-1"}
                batch.add(event)
            await producer.send_batch(batch)


async def bare_receive_loop(connection_string: str) -> None:
    seen, done = 0, asyncio.Event()

    async def on_batch(_: Any, events: list[EventData]) -> None:
        nonlocal seen
        seen += len(events)
        if seen >= EVENTS:
            done.set()

    async with EventHubConsumerClient.from_connection_string(connection_string, "dedup") as client:
        options: dict[str, Any] = {"prefetch": 3000, "max_batch_size": 1000, "starting_position": "-1"}
        task = asyncio.create_task(client.receive_batch(on_batch, partition_id="0", **options))
        await asyncio.wait_for(done.wait(), 120)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_stand_in_delivers_three_times_as_many_events_per_cpu_second_as_the_sdk_receives() -> None:
    hub = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox", "hub", "--amqp-port", "0", "--mqtt-port", "-1", "--hub", "telemetry:1"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert hub.stdout is not None
        connection_string = json.loads(await hub.stdout.readline())["connection_strings"]["telemetry"]
        await fill(connection_string)
        hub_process, sdk_process = psutil.Process(hub.pid), psutil.Process(os.getpid())
        hub_before, sdk_before = cpu_seconds(hub_process), cpu_seconds(sdk_process)
        await bare_receive_loop(connection_string)
        hub_cpu, sdk_cpu = cpu_seconds(hub_process) - hub_before, cpu_seconds(sdk_process) - sdk_before
    finally:
        hub.terminate()
        await hub.wait()
    assert sdk_cpu >= 3 * hub_cpu, f"SDK {sdk_cpu / EVENTS * 1e6:.1f} µs, stand-in {hub_cpu / EVENTS * 1e6:.1f} µs per event"
