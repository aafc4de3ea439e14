"""A client whose process is frozen reads nothing and answers nothing. Nobody else waits for it: as long as it is frozen, the
others attach, send and receive on the same partition, and take its link."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from sandbox.amqp.messages import BareMessage, data_section
from sandbox.hub.log import Partition, now_ms
from sandbox.hub.stand_in import StandIn
from tests.support import hub

PARTITION = "1"
EVENT_BYTES = 200_000
EVENTS = 200
"""40 MB: more than all socket buffers on the way hold."""
CLIENT = f"""
import asyncio, os
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

async def main():
    text = os.environ["CONNECTION_STRING"]
    producer = EventHubProducerClient.from_connection_string(text)
    await producer.send_batch([EventData("first")], partition_id="{PARTITION}")
    consumer = EventHubConsumerClient.from_connection_string(text, "dedup", retry_total=0)

    async def on_batch(context, events):
        if events:
            print(len(events), flush=True)

    async def on_error(context, error):
        print(error, flush=True)

    await consumer.receive_batch(
        on_batch, on_error=on_error, partition_id="{PARTITION}", starting_position="-1", owner_level=1, prefetch=3000
    )

asyncio.run(main())
"""


@pytest.fixture
def partition(stand_in: StandIn) -> Partition:
    found = stand_in.namespace.hubs["telemetry"].partition(PARTITION)
    assert found is not None
    return found


@pytest.fixture
async def frozen(stand_in: StandIn, partition: Partition) -> AsyncIterator[subprocess.Popen[str]]:
    """A process that sends to the partition and receives from it with an epoch; it is frozen, and its socket is full."""
    environment = {**os.environ, "CONNECTION_STRING": stand_in.connection_string("telemetry")}
    process = subprocess.Popen([sys.executable, "-c", CLIENT], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert await asyncio.to_thread(process.stdout.readline) == "1\n"
        process.send_signal(signal.SIGSTOP)
        for _ in range(EVENTS):
            partition.append(BareMessage({}, data_section(b"x" * EVENT_BYTES)), {}, now_ms())
        partition.notify()
        async with asyncio.timeout(hub.TIMEOUT_SECONDS):
            while all(connection.writable for connection in stand_in.broker._connections):
                await asyncio.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_others_send_and_receive_beside_a_frozen_client(
    stand_in: StandIn, partition: Partition, frozen: subprocess.Popen[str]
) -> None:
    telemetry = stand_in.connection_string("telemetry")
    await hub.send(telemetry, [hub.event("second")], PARTITION)
    assert len(await hub.receive(telemetry, PARTITION, EVENTS + 2, consumer_group="$Default", prefetch=50)) == EVENTS + 2


async def test_a_frozen_clients_link_is_taken_at_once_and_for_good(
    stand_in: StandIn, partition: Partition, frozen: subprocess.Popen[str]
) -> None:
    telemetry = stand_in.connection_string("telemetry")
    received = hub.receive(telemetry, PARTITION, EVENTS + 2, owner_level=2, prefetch=50)
    receiving = asyncio.create_task(received)
    await hub.send(telemetry, [hub.event("second")], PARTITION)
    assert hub.body((await receiving)[-1]) == b"second"
    assert not partition.listeners
    frozen.send_signal(signal.SIGCONT)
    assert frozen.stdout is not None
    lines = iter(frozen.stdout.readline, "")
    assert await asyncio.wait_for(
        asyncio.to_thread(lambda: any("amqp:link:stolen" in line for line in lines)), hub.TIMEOUT_SECONDS
    )
