"""Checkpoints are rare, since the record in Redis is enough between them, and are there at once when it becomes quiet."""

from __future__ import annotations

import asyncio

import pytest

from dedup_service.core.leases import Lease, LeaseRecord
from dedup_service.core.progress import Position
from dedup_service.partitions.checkpointing import Checkpointer
from dedup_service.telemetry import Telemetry
from tests.doubles.memory import MemoryCheckpoints, MemoryClock

INTERVAL_SECONDS = 10.0
HOUR_MS = 3_600_000


class CountingCheckpoints(MemoryCheckpoints):
    saves = 0

    async def save(self, partition_id: str, position: Position) -> None:
        self.saves += 1
        await super().save(partition_id, position)


class Partition:
    def __init__(self) -> None:
        self.clock = MemoryClock()
        self.store = CountingCheckpoints()
        self.lease = Lease("0", 1, float("inf"), None)
        self.checkpointer = Checkpointer(self.store, self.lease, self.clock, Telemetry(), INTERVAL_SECONDS)
        self.number = 0

    def finish(self) -> None:
        self.number += 1
        self.lease.record = LeaseRecord(Position(self.number, str(self.number), self.number), {}, 1)

    async def turn(self, *, idle: bool, is_recorded: bool = True, after_ms: int = 500) -> None:
        self.clock.ms += after_ms
        if is_recorded:
            self.lease.written = self.lease.record
        self.checkpointer.save_if_due(idle=idle)
        await self.checkpointer.settle()
        await asyncio.sleep(0)

    @property
    def saved(self) -> int:
        return self.store.positions["0"].sequence_number


@pytest.mark.parametrize("every_ms", [100, 700, 3_000])
async def test_events_that_trickle_in_cost_two_writes_in_an_interval_at_most(every_ms: int) -> None:
    """A partition that is idle after each event wrote its checkpoint after each: 200 partitions 720,000 times an hour."""
    partition = Partition()
    for _ in range(HOUR_MS // every_ms // 2):
        partition.finish()
        await partition.turn(idle=False, after_ms=every_ms // 2)
        await partition.turn(idle=True, after_ms=every_ms - every_ms // 2)
    assert partition.store.saves <= 2 * (HOUR_MS / 2 / 1000 / INTERVAL_SECONDS) + 2
    assert partition.number - partition.saved <= 2 * INTERVAL_SECONDS * 1000 / every_ms


async def test_when_the_events_end_all_of_them_are_saved_at_once() -> None:
    partition = Partition()
    for _ in range(100):
        partition.finish()
        await partition.turn(idle=False)
    assert partition.saved < partition.number
    assert partition.store.saves <= 6
    partition.finish()
    await partition.turn(idle=True, is_recorded=False)
    assert partition.saved < partition.number
    await partition.turn(idle=True)
    assert partition.saved == partition.number


async def test_what_is_left_is_saved_whenever_the_last_save_was() -> None:
    partition = Partition()
    for _ in range(3):
        partition.finish()
        await partition.turn(idle=False)
    await partition.checkpointer.close()
    assert partition.saved == partition.number
