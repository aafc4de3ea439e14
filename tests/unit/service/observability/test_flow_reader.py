"""The last hour is read from Redis once; after that, only the minute that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dedup_service.core.accounting import Counts
from dedup_service.core.flow import COPIES, Sums, counter_of
from dedup_service.core.pod_report import PodReport
from dedup_service.observability.flow import MINUTES_AT_ONCE, FlowReader
from tests.doubles.board import MemoryPodBoard
from tests.doubles.memory import MemoryClock

START_MS = 1_800_000_000_000


@dataclass(slots=True)
class AskedBoard(MemoryPodBoard):
    asked: list[int] = field(default_factory=list)

    async def flow(self, group: str, minutes: Sequence[int]) -> list[Counts]:
        self.asked.append(len(minutes))
        return await MemoryPodBoard.flow(self, group, minutes)


async def test_minutes_that_are_over_are_asked_for_once_and_forgotten_after_an_hour() -> None:
    clock = MemoryClock(START_MS)
    board = AskedBoard(now_ms=clock.now_ms)
    reader = FlowReader(board)
    for number in range(4200):
        await board.tell("pod", number, PodReport("1", 1), {}, {}, {counter_of("presses", COPIES): 1})
        if number % 7 == 0:
            slots = await reader.slots("presses", clock.now_ms())
            assert sum(slots.values(), Sums()).copies in range(min(number, 3600), min(number, 3660) + 2)
        clock.ms += 1000
    first = -(-61 // MINUTES_AT_ONCE)
    assert sum(board.asked[:first]) == 61
    assert max(board.asked[first:]) == 2
    assert len(reader._past["presses"]) <= 61


async def test_groups_are_kept_apart() -> None:
    clock = MemoryClock(START_MS)
    board = AskedBoard(now_ms=clock.now_ms)
    reader = FlowReader(board)
    await board.tell("pod", 1, PodReport("1", 1), {}, {}, {counter_of("presses", COPIES): 1})
    assert await reader.slots("ovens", clock.now_ms()) == {}
    assert await reader.slots("presses", clock.now_ms()) == {START_MS: Sums(1, 0, 0)}
    clock.ms += 60_000
    assert await reader.slots("ovens", clock.now_ms()) == {}
