"""Pods that only observe, and those that publish after them."""

from __future__ import annotations

from dedup_service.adapters.checkpoints.observing import ObservingCheckpoints
from dedup_service.core.progress import Position
from tests.doubles.memory import MemoryCheckpoints


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
