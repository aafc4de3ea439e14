"""What a pod reports to the others: each count once, even if a reply is lost, and nothing that is outdated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType

import pytest

from dedup_service.core.flow import Sums, slots_of
from dedup_service.core.pod_report import PodReport
from dedup_service.core.timeline import Timeline
from dedup_service.errors import UnavailableError
from dedup_service.observability import status as status_module
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.status import Status
from dedup_service.observability.timeline import TimelineKeeper
from dedup_service.telemetry import Count, PartitionFigures, Telemetry
from tests.doubles.board import MemoryPodBoard
from tests.doubles.memory import MemoryClaims, MemoryClock
from tests.doubles.timeline import MemoryTimelineStore
from tests.support.flow import merged
from tests.support.groups import group_of
from tests.support.processes import DEADLINE_SECONDS
from tests.support.shared import REDIS


class FlakyBoard(MemoryPodBoard):
    lost_replies = 0

    async def tell(
        self,
        pod_id: str,
        number: int,
        report: PodReport,
        increments: Mapping[str, int],
        recognised: Mapping[str, int] = MappingProxyType({}),
        flow: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        await super().tell(pod_id, number, report, increments, recognised, flow)
        if self.lost_replies:
            self.lost_replies -= 1
            raise UnavailableError(REDIS, "no answer", ambiguous=True)


def make() -> tuple[Status, FlakyBoard]:
    board = FlakyBoard()
    store = MemoryTimelineStore()
    fleet = Fleet(MemoryClaims(MemoryClock()).ledger, board, store)
    return Status("pod", board, fleet, Telemetry(), TimelineKeeper("pod", store, fleet, time.monotonic)), board


async def test_a_report_whose_reply_was_lost_counts_once() -> None:
    status, board = make()
    status.telemetry.add(Count.COPIES, 5, "edge-1")
    board.lost_replies = 1
    with pytest.raises(UnavailableError):
        await status.tell()
    status.telemetry.add(Count.COPIES, 2, "edge-1")
    await status.tell()
    await status.tell()
    assert await board.totals() == {"COPIES|edge-1": 7}


async def test_others_read_in_which_mode_each_pod_runs() -> None:
    status, board = make()
    status.fleet.groups = [group_of(name="a", mode="observe"), group_of(name="b", mode="drop")]
    assert await status.fleet.modes() == {}
    await status.tell()
    assert await status.fleet.modes() == {"a": "observe", "b": "drop"}
    await board.tell("of-before", 1, PodReport("1", 1), {})
    await board.tell("other", 1, PodReport("1", 1, modes={"a": "drop", "b": "drop"}), {})
    assert await status.fleet.modes() == {"a": "drop/observe", "b": "drop"}


async def test_what_was_recognised_counts_once_and_in_its_hour() -> None:
    status, board = make()
    status.telemetry.recognised["telegraf|default"] += 3
    board.lost_replies = 1
    with pytest.raises(UnavailableError):
        await status.tell()
    status.telemetry.recognised["telegraf|default"] += 1
    status.telemetry.recognised["kepware|default"] += 1
    await status.tell()
    await status.tell()
    assert await board.totals() == {}
    assert await board.recognised(list(board.by_hour)) == {"telegraf|default": 4, "kepware|default": 1}


async def test_what_was_finished_is_told_once_and_by_group() -> None:
    status, board = make()
    status.telemetry.finished("presses", copies=3, readings=1, duplicates=2)
    board.lost_replies = 1
    with pytest.raises(UnavailableError):
        await status.tell()
    status.telemetry.finished("presses", copies=3, readings=0, duplicates=3)
    status.telemetry.finished("ovens", copies=1, readings=1, duplicates=0)
    for _ in range(3):
        await status.tell()
    slots = {
        group: merged(slots_of(at, counts) for (of, at), counts in board.by_minute.items() if of == group)
        for group, _ in board.by_minute
    }
    sums = {group: sum(found.values(), Sums()) for group, found in slots.items()}
    assert sums == {"presses": Sums(6, 1, 5), "ovens": Sums(1, 1, 0)}


async def test_only_the_newest_examples_are_reported() -> None:
    status, board = make()
    for n in range(500):
        status.telemetry.add_example("conflict", id=str(n))
    await status.tell()
    assert [note["id"] for note in await board.examples("conflict")] == [str(n) for n in range(499, 479, -1)]


@pytest.mark.parametrize("lost_replies", [1, 5])
async def test_a_pod_leaves_also_where_its_last_figures_do_not_get_through(lost_replies: int) -> None:
    status, board = make()
    store = status.timeline.store
    await store.replace(await store.load(), Timeline(pods=("pod",)))
    await status.tell()
    board.lost_replies = lost_replies
    await status.leave()
    assert await board.pods() == []
    left = (await store.load()).timeline
    assert left is not None
    assert (left.pods, [entry.kind for entry in left.entries]) == ((), ["pod-left"])


async def test_a_pod_that_leaves_does_not_wait_for_a_silent_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "LEAVING_SECONDS", 0.05)
    status, board = make()
    monkeypatch.setattr(board, "tell", lambda *_: asyncio.Event().wait())
    async with asyncio.timeout(DEADLINE_SECONDS):
        await status.leave()


async def test_a_pod_that_leaves_is_no_longer_shown() -> None:
    status, board = make()
    await status.tell()
    assert [pod.pod for pod in await board.pods()] == ["pod"]
    await status.leave()
    assert await board.pods() == []


async def test_an_outdated_overview_is_not_shown() -> None:
    status, _ = make()
    status.fleet.groups = [group_of()]
    now = 1000.0
    status.monotonic = lambda: now
    assert status.overview is None
    await status.look()
    assert status.overview is not None
    now += 60
    assert status.overview is None


async def test_the_spread_of_lag_is_that_of_the_partitions_of_all_pods() -> None:
    """R11: copies of a reading are as far apart as the slowest partition is behind the fastest, wherever these are."""
    now_ms, hour_ms = 100 * 3_600_000, 3_600_000
    status, board = make()
    behind = PartitionFigures(1, now_ms - 21 * hour_ms, now_ms)
    status.telemetry.partitions = {"0": behind, "1": PartitionFigures(1, now_ms - 20 * hour_ms, now_ms)}
    assert status.telemetry.lag_spread_ms(now_ms) == hour_ms
    await board.tell("other", 1, PodReport("1", 1, {"2": (5, now_ms, now_ms), "3": (-1, 0, 0)}), {})
    await status.look()
    assert status.telemetry.lag_spread_ms(now_ms) == 21 * hour_ms


def test_without_partitions_there_is_no_spread() -> None:
    assert Telemetry().lag_spread_ms(5) == 0
