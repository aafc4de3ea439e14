"""A rebuild that nothing may stop."""

from __future__ import annotations

from dedup_service.core.markers import BEGINNING_MS, Memory, ReadBack
from dedup_service.rebuild.reading_back import ReadingBack
from dedup_service.rebuild.rebuilder import Rebuilder, RebuildOptions
from dedup_service.telemetry import Telemetry
from tests.doubles.markers import MemoryMarkers, MemoryServer
from tests.doubles.memory import MemoryClaims, MemoryClock, MemoryPublisher
from tests.support.groups import group_of
from tests.support.rebuilds import WINDOW_MS, reader_of


async def has_worked() -> bool:
    return False


async def test_a_shard_gets_ready_although_it_waited_for_an_output_that_is_no_longer_there() -> None:
    clock, telemetry = MemoryClock(), Telemetry()
    claims = MemoryClaims(clock)
    markers, memory = MemoryMarkers(MemoryServer(clock, claims)), Memory(["0"])
    (marker,) = await markers.look()
    await markers.note(marker, "0", ReadBack(BEGINNING_MS, 0), ["0", "gone:0"])
    reading_back = ReadingBack(MemoryPublisher({"0": []}), claims, markers, reader_of(group_of()), clock, telemetry)
    options = RebuildOptions(1.0, WINDOW_MS, lambda: WINDOW_MS, lambda: 0)
    rebuilder = Rebuilder("a", memory, markers, reading_back, clock, telemetry, options, has_worked)
    memory.forgot()
    for _ in range(2):
        await rebuilder.round()
    assert markers.are_ready
    assert memory.is_whole
