"""Three gateways of a plant in every shape of every format: stand-in hubs, the real SDK, a real Valkey, a killed service.

Nothing is lost or doubled, and every reading in the clean stream has the bytes that one gateway sent.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, properties_section, section
from sandbox.hub.stand_in import StandIn
from tests.support import edges, hub
from tests.support.formats.auditor import Clean, Group, Origin, audit, interleaved
from tests.support.formats.bodies import Sent
from tests.support.formats.plants import GATEWAYS, NS
from tests.support.formats.shapes import SHAPES
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess

SEED = 11
SETTINGS = [("source", "as-received"), ("group", "as-received"), ("source", "structured")]
"""Batches are split among the output partitions, or stay together, or become CloudEvents."""


def plants() -> list[Group]:
    start_ns = (time.time_ns() // NS - 120) * NS
    return [Group.of(shape, partition_by, mode, SEED, start_ns) for shape in SHAPES for partition_by, mode in SETTINGS]


def configured(group: Group) -> dict[str, Any]:
    shape = group.shape
    optional = {"format_options": shape.options, "identity": shape.identity}
    return {
        "name": group.name,
        "devices": [f"{group.name}.*"],
        "format": shape.format,
        "content_mode": group.content_mode,
        "partition_by": group.partition_by,
        **{name: value for name, value in optional.items() if value is not None},
    }


class Plants:
    """Sends what the gateways sent, as IoT Hub stores it: each device's messages are in one partition."""

    def __init__(self, stand_in: StandIn, groups: list[Group]) -> None:
        self._log = stand_in.namespace.hubs["telemetry"]
        self._waiting = list(interleaved(groups, Random(SEED)))
        self.inputs: dict[Origin, tuple[Group, Sent]] = {}

    @property
    def are_done(self) -> bool:
        return not self._waiting

    def send(self, count: int) -> None:
        chosen, self._waiting = self._waiting[:count], self._waiting[count:]
        for group, gateway, sent in chosen:
            partition = GATEWAYS.index(gateway)
            self.inputs[partition, self._log.partitions[partition].next_sequence_number] = group, sent
            properties = section(APPLICATION_PROPERTIES, sent.properties) if sent.properties else b""
            system = properties_section(content_type=sent.content_type, content_encoding="utf-8")
            message = BareMessage({}, system + properties + data_section(sent.body))
            edges.deliver(self._log, partition, f"{group.name}.{gateway}", message, time.time_ns() // 1_000_000)


@pytest.fixture
async def service(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> AsyncIterator[ServiceProcess]:
    path = tmp_path / "groups.json"  # all JSON is YAML
    path.write_text(json.dumps({"groups": [configured(group) for group in plants()]}))
    process = ServiceProcess(stand_in, redis_url, tmp_path, namespace, DEDUP_CONFIG_FILE=str(path))
    try:
        await process.until_ready()
        yield process
    finally:
        process.process.kill()
        process.process.wait()


async def until_published(stand_in: StandIn, count: int) -> None:
    """Waits until so many more events are in the clean hub."""
    partitions = stand_in.namespace.hubs["clean"].partitions
    target = count + sum(partition.next_sequence_number for partition in partitions)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while sum(partition.next_sequence_number for partition in partitions) < target:
            await asyncio.sleep(0.005)


async def test_every_format_through_the_whole_chain_and_a_kill(stand_in: StandIn, service: ServiceProcess) -> None:
    all_plants = Plants(stand_in, plants())
    all_plants.send(1000)
    await until_published(stand_in, 100)
    all_plants.send(2000)
    await until_published(stand_in, 100)
    service.process.kill()
    service.process.wait()
    assert not all_plants.are_done
    service.start()
    while not all_plants.are_done:
        all_plants.send(500)
        await asyncio.sleep(0)
    await service.until_finished(stand_in)
    stream = [
        Clean(hub.body(item), hub.properties(item)) for item in await hub.read_all(stand_in.connection_string("clean"))
    ]
    assert audit(all_plants.inputs, stream) == []
    assert await hub.read_all(stand_in.connection_string("dead-letter")) == []
    stats = await asyncio.to_thread(service.stats)
    assert (stats["conflicts"], stats["ignored_events"]) == (0, 0)
    assert stats["duplicates"] > stats["winners"]
    assert stats["replays"] + stats["in_doubt_found"] + stats["in_doubt_published"] > 0, "the kill met no work"
