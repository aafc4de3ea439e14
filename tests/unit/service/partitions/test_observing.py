"""Pods that only observe, and those that publish after them."""

from __future__ import annotations

import dataclasses

import pytest

from dedup_service.adapters.checkpoints.observing import ObservingCheckpoints
from dedup_service.core.leases import LeaseRecord
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.progress import Position
from dedup_service.partitions.takeover import CLOCKS_APART_MS, Takeover
from dedup_service.telemetry import PartitionFigures
from dedup_service.waiting import Activity, Retrier, Stop
from tests.doubles.memory import AlwaysFirst, MemoryCheckpoints
from tests.support.plant import RETENTION_MS, Plant
from tests.support.shared import input_of


async def test_what_was_published_is_not_observed_again_and_what_was_observed_is_not_published() -> None:
    own, published = MemoryCheckpoints(), MemoryCheckpoints()
    checkpoints = ObservingCheckpoints(own, published)
    await published.save("0", Position(7, "70", 0))
    await published.save("1", Position(7, "70", 0))
    await checkpoints.save("1", Position(9, "90", 0))
    await checkpoints.save("2", Position(1, "10", 0))
    numbers = {partition: position.sequence_number for partition, position in (await checkpoints.load()).items()}
    assert numbers == {"0": 7, "1": 9, "2": 1}
    assert (await published.load()).keys() == {"0", "1"}


class Observed(AlwaysFirst):
    def __init__(self, until_ms: int | None) -> None:
        self.until_ms = until_ms

    async def observed_until_ms(self) -> int | None:
        return self.until_ms


async def start_of(plant: Plant, until_ms: int | None) -> int | None:
    """Where a publishing pod starts in partition 1, of which nothing was published, in ms since the epoch."""
    observed = MemoryCheckpoints({partition: Position(5, "50", 0) for partition in ("0", "1")})
    source = dataclasses.replace(
        input_of(plant.hub, plant.checkpoints, plant.leases, RETENTION_MS), observed=observed, precedence=Observed(until_ms)
    )
    retrier = Retrier(plant.clock, plant.telemetry, Stop(plant.clock), Activity(plant.clock, PartitionFigures()))
    lease = await plant.leases.take("pod", "1")
    assert lease is not None
    takeover = Takeover(lease, source, plant.shared(), plant.leases, plant.sampling(), retrier, "earliest")
    state = await takeover.take_over()
    return takeover.start_position(state.finished).enqueued_ms


async def test_publishing_begins_where_pods_last_observed() -> None:
    plant = Plant(partitions=2)
    now_ms = plant.clock.now_ms()
    assert await start_of(plant, now_ms - 60_000) == now_ms - 60_000 - CLOCKS_APART_MS


@pytest.mark.parametrize("until_ms", [10**18, None])
async def test_publishing_begins_now_at_the_latest(until_ms: int | None) -> None:
    plant = Plant(partitions=2)
    assert await start_of(plant, until_ms) == plant.clock.now_ms() - CLOCKS_APART_MS


async def test_publishing_does_not_begin_before_there_were_hubs() -> None:
    assert await start_of(Plant(partitions=2), -(10**18)) == 0


async def test_a_partition_of_which_nothing_was_published_is_read_whole_when_redis_forgot_where_publishing_began() -> None:
    plant = Plant(partitions=2)
    await plant.checkpoints.save("0", Position(9, "90", 0))
    assert await start_of(plant, plant.clock.now_ms()) == 0


async def test_the_record_of_a_pod_that_only_observed_makes_nobody_read_the_clean_hub_from_its_beginning() -> None:
    """It has no sample: nothing was sent behind it. An ambiguous send was looked up in all that the clean hub holds."""
    plant = Plant()
    plant.clean.partitions["0"] += [OutgoingEvent(b"", None, None, None, None, {}, 1)] * 50
    lease = await plant.leases.take("observing", "0")
    assert lease is not None
    info = await plant.hub.info()
    await plant.leases.write(lease, LeaseRecord(None, {}, info.incarnation, "no rule"), release=True)
    own = await plant.leases.take("publishing", "0")
    assert own is not None
    retrier = Retrier(plant.clock, plant.telemetry, Stop(plant.clock), Activity(plant.clock, PartitionFigures()))
    source = input_of(plant.hub, plant.checkpoints, plant.leases, RETENTION_MS)
    state = await Takeover(own, source, plant.shared(), plant.leases, plant.sampling(), retrier, "earliest").take_over()
    assert state.sample == {"0": 49}
    assert own.record is not None
    assert own.record.sample == state.sample
    assert state.rule == plant.shared().rule
