"""One pod makes the overview for all: its cost does not grow with the number of pods."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from dedup_service.errors import UnavailableError
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.shared_overview import decode, encode, name_of
from dedup_service.observability.sharing import TURN_MS, Share
from tests.doubles.board import MemoryPodBoard
from tests.doubles.memory import MemoryClaims, MemoryClock
from tests.doubles.timeline import MemoryTimelineStore
from tests.support.groups import group_of
from tests.support.overview import overview_of
from tests.support.shared import REDIS
from tests.unit.service.observability.test_single_flight import CountingLedger

PODS = 50


def make(pods: int, board: MemoryPodBoard) -> tuple[list[Fleet], Counter[str]]:
    calls: Counter[str] = Counter()
    ledger: Any = CountingLedger(MemoryClaims(MemoryClock()).ledger, calls)
    groups = [group_of(name=f"group-{n}") for n in range(20)]
    return [Fleet(ledger, board, MemoryTimelineStore(), groups) for _ in range(pods)], calls


async def reads_of(pods: int) -> Counter[str]:
    fleets, calls = make(pods, MemoryPodBoard(lambda: 1_000_000))
    await asyncio.gather(*(fleet.overview() for fleet in fleets))
    return calls


async def test_fifty_pods_read_what_one_reads() -> None:
    one = await reads_of(1)
    assert one["hours"] == 20
    assert await reads_of(PODS) == one


async def test_all_pods_say_the_same() -> None:
    fleets, _ = make(3, MemoryPodBoard())
    first, *others = await asyncio.gather(*(fleet.overview() for fleet in fleets))
    assert others == [first, first]


async def test_when_the_pod_whose_turn_it_is_fails_another_one_has_the_next() -> None:
    now_ms = 1_000_000
    board = MemoryPodBoard(lambda: now_ms)
    (dead, alive), calls = make(2, board)

    async def fail() -> int:
        raise UnavailableError(REDIS, "no answer")

    dead.ledger.now_ms = fail  # type: ignore[method-assign]  # this one fails
    with pytest.raises(UnavailableError):
        await dead._make()
    with pytest.raises(UnavailableError):
        await dead.overview()
    del dead.ledger.now_ms
    waiting = asyncio.create_task(alive.overview())
    await asyncio.sleep(0)
    assert "hours" not in calls
    now_ms += TURN_MS
    assert await waiting
    assert calls["hours"] == 20


@pytest.mark.parametrize(("takes", "rests"), [(0.02, 1.0), (2.5, 10.0), (60.0, 15.0)])
async def test_what_takes_seconds_is_made_less_often(takes: float, rests: float) -> None:
    """So that it does not occupy a pod all the time. What is quickly made is made anew when it is a second old."""
    now, made = 0.0, 0
    share = Share(MemoryPodBoard(lambda: round(now * 1000)), "x", bytes, lambda content: content, monotonic=lambda: now)

    async def make(_: bytes | None) -> bytes:
        nonlocal now, made
        now, made = now + takes, made + 1
        return b"made"

    assert await share.current(make) == b"made"
    now += rests - 0.01
    assert await share.current(make) == b"made"
    assert made == 1
    now += 0.02
    assert await share.current(make) == b"made"
    assert made == 2


def test_an_overview_is_read_as_it_was_written() -> None:
    overview = overview_of()
    groups = [item.group for item in overview.groups]
    assert decode(encode(overview), groups) == overview


@pytest.mark.parametrize("content", [b"", b"x", b"\x78\x01", encode(overview_of())[:-9]])
def test_what_is_no_overview_is_left(content: bytes) -> None:
    assert decode(content, [item.group for item in overview_of().groups]) is None


def test_pods_that_judge_by_other_limits_share_nothing() -> None:
    names = {name_of([group_of(window_ms=limit)]) for limit in (60, 60, 120)}
    assert len(names) == 2
