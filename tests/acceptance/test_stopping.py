"""SIGTERM under load: whatever the clean hub does, the pod leaves in order and in time, and its successor does the rest."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.hub.log import Hub
from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.links import Link
from tests.support import hub
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess

INPUT_PARTITIONS = 12
EVENT_BYTES, EVENTS = 50_000, 800
SOURCES = 50
LATE_SECONDS = 2.0
"""Each worker has at least one send for each output partition, where one comes after the other: together they take longer
than a pod has to leave."""
NEVER_SECONDS = 3600.0


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    hubs = {"telemetry": INPUT_PARTITIONS, "clean": 4, "dead-letter": 1}
    running = StandIn(HubOptions(amqp_port=0, mqtt_port=None, hubs=hubs))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def link(stand_in: StandIn) -> AsyncIterator[Link]:
    """The pod's way to the clean hub."""
    made = await Link("127.0.0.1", stand_in.amqp_port).start()
    yield made
    await made.stop()


def fill(telemetry: Hub) -> list[str]:
    ids = [str(number) for number in range(EVENTS)]
    for number, reading_id in enumerate(ids):
        message = hub.encoded_single(reading_id, b"x" * EVENT_BYTES, source=f"urn:plant:{number % SOURCES}")
        telemetry.append([message], partition=telemetry.partitions[number % INPUT_PARTITIONS])
    return ids


async def until_sending(clean: Hub) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not all(partition.entries for partition in clean.partitions):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("late_seconds", "is_cut"),
    [(LATE_SECONDS, False), (NEVER_SECONDS, False), (LATE_SECONDS, True)],
    ids=["slow", "silent", "cut-off"],
)
async def test_a_pod_with_much_to_send_leaves_in_time_and_its_successor_sends_the_rest(
    stand_in: StandIn, link: Link, redis_url: str, tmp_path: Path, namespace: str, late_seconds: float, is_cut: bool
) -> None:
    telemetry, clean = (stand_in.namespace.hubs[name] for name in ("telemetry", "clean"))
    clean.faults.late_ack_seconds = late_seconds
    ids = fill(telemetry)
    address = {"DEDUP_OUTPUT_ENDPOINT_ADDRESS": f"{link.host}:{link.port}"}
    service = ServiceProcess(stand_in, redis_url, tmp_path, namespace, **address)
    try:
        await until_sending(clean)
        if is_cut:
            link.cut()
        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.process.wait, DEADLINE_SECONDS) == 0  # HUNG where it had not left in time
        assert sum(len(partition.entries) for partition in clean.partitions) < EVENTS
        clean.faults.late_ack_seconds = 0.0
        link.mend()
        service.start()
        await service.until_finished(stand_in)
        published = [hub.encoded_id(entry.message) for partition in clean.partitions for entry in partition.entries]
        assert Counter(published) == Counter(ids)
    finally:
        service.process.kill()
        service.process.wait()
