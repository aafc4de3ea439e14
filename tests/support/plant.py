"""One input hub with its surroundings in memory, for tests of workers and of the pods that share its partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dedup_service.core.leases import Lease, NewestSample
from dedup_service.partitions.assignment import Assignment
from dedup_service.partitions.sampling import Sampling
from dedup_service.partitions.worker import PartitionWorker, WorkerOptions
from dedup_service.processing.shared import Shared
from dedup_service.telemetry import Telemetry
from tests.doubles.memory import (
    AlwaysFirst,
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

RETENTION_MS = 10**9
TURNS = 10_000


@dataclass
class Plant:
    """One input hub with its surroundings, and as many workers as a test needs."""

    clock: MemoryClock = field(default_factory=MemoryClock)
    telemetry: Telemetry = field(default_factory=Telemetry)
    checkpoints: MemoryCheckpoints = field(default_factory=MemoryCheckpoints)
    clean: MemoryPublisher = field(default_factory=lambda: MemoryPublisher({"0": []}))
    partitions: int = 1
    newest_sample: NewestSample = field(default_factory=NewestSample)
    hub: MemoryHub = field(init=False)
    claims: MemoryClaims = field(init=False)
    leases: MemoryLeases = field(init=False)

    def __post_init__(self) -> None:
        self.hub = MemoryHub(self.clock, {str(n): [] for n in range(self.partitions)})
        self.claims = MemoryClaims(self.clock)
        self.leases = MemoryLeases(self.clock, list(self.hub.partitions))

    def emit(self, *ids: str, partition: str = "0") -> None:
        for reading_id in ids:
            self.clock.ms += 10
            self.hub.append(single(reading_id, reading_id.encode(), partition_id=partition))

    async def worker(self, start_at: str | int = "earliest", partition: str = "0") -> PartitionWorker:
        self.clock.ms += round(self.leases.ttl_seconds * 1000)  # an earlier lease has expired
        lease = await self.leases.take("pod", partition)
        assert lease is not None
        return self.worker_of(lease, start_at)

    def worker_of(self, lease: Lease, start_at: str | int = "earliest", hub: Any = None) -> PartitionWorker:
        lease.valid_until = float("inf")  # the clock runs fast here, and leases have their own tests
        source = input_of(hub or self.hub, self.checkpoints, self.leases, RETENTION_MS)
        options = WorkerOptions(start_at, checkpoint_interval_seconds=1.0)
        shared = self.shared()
        return PartitionWorker(lease, source, shared, self.leases, self.sampling(shared), options)

    def sampling(self, shared: Shared | None = None) -> Sampling:
        return Sampling(shared or self.shared(), self.leases, interval_seconds=0.01)

    def shared(self) -> Shared:
        return shared_of(
            admission_of(),
            self.clock,
            self.telemetry,
            claims=self.claims,
            clean=self.clean,
            dead_letters=None,
            newest_sample=self.newest_sample,
        )

    @property
    def published(self) -> list[str]:
        return [event.body.decode() for event in self.clean.events]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never became true")


def pod(plant: Plant, name: str, hub: Any = None) -> Assignment:
    """`hub`: the input hub as this pod reaches it."""
    shared = plant.shared()
    return Assignment(
        name,
        list(plant.hub.partitions),
        0.001,
        plant.leases,
        AlwaysFirst(),
        shared,
        plant.sampling(shared),
        partial(plant.worker_of, hub=hub),
        (hub or plant.hub).info,
    )


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)
