"""How much of a partition a new owner takes for something that its predecessor may have sent."""

from __future__ import annotations

from dataclasses import dataclass

from dedup_service.core.leases import Lease, LeaseRecord, TakeoverState
from dedup_service.core.progress import Position
from dedup_service.partitions.takeover import Takeover
from dedup_service.processing.beginning import Beginning
from dedup_service.telemetry import PartitionFigures, Telemetry
from dedup_service.waiting import Activity, Retrier, Stop
from tests.doubles.memory import MemoryClock, MemoryLeases
from tests.support.plant import RETENTION_MS, Plant
from tests.support.shared import input_of

BACKLOG, BEGUN = 500, 40
RECORD = LeaseRecord(Position(10, "10", 0), {"0": -1}, 1)


async def taken(plant: Plant, generation: int) -> Lease:
    lease = await plant.leases.take("pod", "0", generation)
    assert lease is not None
    return lease


async def take_over(plant: Plant, lease: Lease) -> TakeoverState:
    retrier = Retrier(plant.clock, plant.telemetry, Stop(plant.clock), Activity(plant.clock, PartitionFigures()))
    source = input_of(plant.hub, plant.checkpoints, plant.leases, RETENTION_MS)
    return await Takeover(lease, source, plant.shared(), plant.leases, plant.sampling(), retrier, "earliest").take_over()


async def left_by_a_predecessor() -> Plant:
    plant = Plant()
    plant.emit(*map(str, range(BACKLOG)))
    lease = await taken(plant, 1)
    lease.begun = BEGUN
    await plant.leases.write(lease, RECORD, release=True)
    return plant


async def test_it_ends_where_the_predecessor_can_have_been_however_long_the_backlog() -> None:
    plant = await left_by_a_predecessor()
    assert (await take_over(plant, await taken(plant, 1))).horizon == BEGUN


async def test_a_successor_of_a_successor_takes_no_less() -> None:
    """The one between them has done nothing, and so knows nothing that the last one need not know."""
    plant = await left_by_a_predecessor()
    lease = await taken(plant, 1)
    await take_over(plant, lease)
    await plant.leases.write(lease, RECORD, release=True)
    assert (await take_over(plant, await taken(plant, 1))).horizon == BEGUN


async def test_it_is_the_end_where_redis_may_have_forgotten_how_far_the_predecessor_was() -> None:
    plant = await left_by_a_predecessor()
    assert (await take_over(plant, await taken(plant, 2))).horizon == BACKLOG - 1


async def test_it_is_the_end_where_the_checkpoint_is_ahead_of_the_record() -> None:
    plant = await left_by_a_predecessor()
    await plant.checkpoints.save("0", Position(300, "300", 0))
    assert (await take_over(plant, await taken(plant, 1))).horizon == BACKLOG - 1


@dataclass(slots=True)
class CountingLeases(MemoryLeases):
    writes: int = 0

    async def write(self, lease: Lease, record: LeaseRecord, *, release: bool = False) -> bool:
        self.writes += 1
        return await MemoryLeases.write(self, lease, record, release=release)


async def test_saying_how_far_costs_no_call_of_its_own_between_two_renewals() -> None:
    clock = MemoryClock()
    leases = CountingLeases(clock, ["0"])
    lease = await leases.take("pod", "0")
    assert lease is not None
    lease.record = RECORD
    retrier = Retrier(clock, Telemetry(), Stop(clock), Activity(clock, PartitionFigures()))
    beginning = Beginning(lease, leases, retrier)
    for number in range(0, 1_000_000, 1_000):
        await beginning.reach(number)
        assert lease.begun_written >= number
        if number % 10_000 == 0:  # half a second, at 20,000 events a second
            await leases.renew("pod", [lease])
    assert leases.writes == 1
