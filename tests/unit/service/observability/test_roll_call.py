"""One pod calls the roll for all: nobody thinks the spread of lag narrower than it is (R11)."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup_service.core.lag_bounds import NO_LAG_MS, LagBounds, bounds_of, joined
from dedup_service.core.pod_report import PodReport
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.roll_call import NAME, RollCall, bounds_after, roll_call_of
from dedup_service.ports.pods import PodStatus
from dedup_service.telemetry import PartitionFigures, lag_ms, lags_since_ms
from tests.doubles.board import MemoryPodBoard
from tests.doubles.memory import MemoryClaims, MemoryClock
from tests.doubles.timeline import MemoryTimelineStore

NOW_MS = 1_800_000_000_000
BEHIND = (1, NOW_MS - 60_000, NOW_MS)
UP_TO_DATE = (1, NOW_MS, NOW_MS)
NEVER_FINISHED = (-1, 0, 0)

moments = st.integers(1, 2 * NOW_MS)
figures = st.builds(PartitionFigures, st.integers(-1, 9), moments, moments, st.just(0), st.just(0) | moments)


def pod(name: str, **partitions: tuple[int, int, int]) -> PodStatus:
    return PodStatus(name, PodReport("1", 1, partitions))


@given(st.lists(figures, min_size=1), st.lists(figures), moments)
def test_two_moments_tell_the_spread_of_any_number_of_partitions_at_any_time(
    here: list[PartitionFigures], elsewhere: list[PartitionFigures], now_ms: int
) -> None:
    found = joined(bounds_of(map(lags_since_ms, here)), bounds_of(map(lags_since_ms, elsewhere)))
    lags = [lag_ms(item, now_ms) for item in (*here, *elsewhere)]
    assert found is not None
    assert found.spread_ms(now_ms) == max(lags) - min(lags)


def test_the_first_pod_and_the_bounds_of_all_partitions_are_told() -> None:
    pods = [pod("a", p0=BEHIND), pod("b", p1=UP_TO_DATE, p2=NEVER_FINISHED)]
    before = RollCall("z", LagBounds(1, NO_LAG_MS))
    assert roll_call_of(pods, ["p0", "p1", "p2"], before) == RollCall("a", LagBounds(BEHIND[1], NO_LAG_MS), is_complete=True)


@pytest.mark.parametrize("partitions", [["p0", "p1"], []], ids=["one is in no report", "none is known yet"])
def test_while_not_all_partitions_are_reported_the_bounds_only_widen(partitions: list[str]) -> None:
    before = RollCall("a", LagBounds(BEHIND[1], NOW_MS - 5))
    assert roll_call_of([pod("a", p1=UP_TO_DATE)], partitions, before).lags == LagBounds(BEHIND[1], NO_LAG_MS)
    assert roll_call_of([], partitions, before) == RollCall(None, before.lags)
    assert roll_call_of([], partitions, None) == RollCall(None, None)


async def test_what_others_wrote_as_roll_call_is_left() -> None:
    board = MemoryPodBoard()
    fleet = Fleet(MemoryClaims(MemoryClock()).ledger, board, MemoryTimelineStore())
    await board.tell("a", 1, PodReport("1", 1), {})
    await board.share(NAME, b"\xff no roll call", 60_000)
    reading = asyncio.create_task(fleet.roll_call())
    await asyncio.sleep(0)
    assert not reading.done()
    del board.contents[NAME]
    assert await reading == RollCall("a", None)


def test_only_a_complete_call_narrows_what_a_pod_knows() -> None:
    known, narrow = LagBounds(1, NO_LAG_MS), LagBounds(NOW_MS - 5, NOW_MS)
    assert bounds_after(known, RollCall("a", narrow)) == known
    assert bounds_after(known, RollCall("a", None)) == known
    assert bounds_after(None, RollCall("a", narrow)) == narrow
    assert bounds_after(known, RollCall("a", narrow, is_complete=True)) == narrow
