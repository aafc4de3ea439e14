"""One input: partitions that are added while the service runs, or while it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from dedup_service.config.settings import Settings
from dedup_service.partitions.consumer import InputConsumer
from dedup_service.telemetry import Telemetry
from dedup_service.waiting import StartupWait
from tests.doubles.memory import (
    MemoryCheckpoints,
    MemoryClaims,
    MemoryClock,
    MemoryHub,
    MemoryLeases,
    MemoryPublisher,
)
from tests.support.groups import admission_of
from tests.support.readings import single
from tests.support.shared import input_of, shared_of

RETENTION_MS = 10**12


@dataclass
class Plant:
    """An input hub that outlives the pods which read it."""

    clock: MemoryClock = field(default_factory=MemoryClock)
    checkpoints: MemoryCheckpoints = field(default_factory=MemoryCheckpoints)
    clean: MemoryPublisher = field(default_factory=lambda: MemoryPublisher({"0": []}))
    hub: MemoryHub = field(init=False)
    claims: MemoryClaims = field(init=False)
    leases: MemoryLeases = field(init=False)

    def __post_init__(self) -> None:
        self.hub = MemoryHub(self.clock, {"0": []})
        self.claims = MemoryClaims(self.clock)
        self.leases = MemoryLeases(self.clock, ["0"], ttl_seconds=10**9)  # time flies here

    def emit(self, reading_id: str, partition: str) -> None:
        self.hub.append(single(reading_id, reading_id.encode(), partition_id=partition))

    @property
    def published(self) -> set[str]:
        return {event.body.decode() for event in self.clean.events}

    @asynccontextmanager
    async def pod(self, start_at: str) -> AsyncIterator[InputConsumer]:
        telemetry, stop = Telemetry(), asyncio.Event()
        shared = shared_of(admission_of(), self.clock, telemetry, claims=self.claims, clean=self.clean, dead_letters=None)
        self.leases.partition_ids = sorted(self.hub.partitions)
        settings = Settings.model_construct(start_at=start_at, partition_check_seconds=1.0)
        consumer = InputConsumer(settings, input_of(self.hub, self.checkpoints, self.leases, RETENTION_MS), shared, "pod")
        running = asyncio.create_task(consumer.run(StartupWait(self.clock, telemetry, stop), stop))
        yield consumer
        stop.set()
        await running


async def until_published(plant: Plant, expected: set[str]) -> None:
    async with asyncio.timeout(60):
        while plant.published != expected:
            await asyncio.sleep(0)


@pytest.mark.parametrize("start_at", ["earliest", "latest"])
async def test_a_partition_that_is_added_while_the_service_runs_is_read_from_its_beginning(start_at: str) -> None:
    plant = Plant()
    async with plant.pod(start_at) as consumer:
        while "0" not in plant.checkpoints.positions:
            await asyncio.sleep(0)
        plant.emit("a", "0")
        await until_published(plant, {"a"})
        plant.hub.partitions["1"] = []
        plant.emit("b", "1")
        await until_published(plant, {"a", "b"})
        assert consumer.partitions == ["0", "1"]


async def test_a_partition_that_was_added_while_the_service_was_away_is_read_from_its_beginning() -> None:
    plant = Plant()
    plant.emit("before", "0")
    async with plant.pod("latest"):
        while "0" not in plant.checkpoints.positions:
            await asyncio.sleep(0)
    plant.hub.partitions["1"] = []
    plant.emit("b", "1")
    async with plant.pod("latest"):
        await until_published(plant, {"b"})
