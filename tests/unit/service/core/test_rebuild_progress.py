"""What is told of a rebuild's progress never promises more than what was seen of it."""

from __future__ import annotations

import msgspec
import pytest

from dedup_service.core.markers import BEGINNING_MS, Marker, Memory, ReadBack
from dedup_service.core.pod_report import PodReport, decode, encode
from dedup_service.core.rebuild_progress import Pace, RebuildProgress, progress_of_all

WINDOW_MS = 1000
SINCE_MS = 50_000


def marker(shard: int, **depths: int) -> Marker:
    """How many ms of the window are read back, by partition; -1 for all."""
    back = {p: ReadBack(BEGINNING_MS if ms < 0 else SINCE_MS - ms, 7) for p, ms in depths.items()}
    return Marker(shard, 1, SINCE_MS, SINCE_MS, is_ready=True, read_back=back)


@pytest.mark.parametrize(
    ("markers", "share"),
    [
        ([marker(0)], 0.0),
        ([marker(0, a=500)], 0.25),
        ([marker(0, a=500, b=100)], 0.3),
        ([marker(0, a=-1, b=100)], 0.55),
        ([marker(0, a=-1, b=-1), marker(1, a=-1, b=500)], 0.75),
        ([marker(0, a=-1, b=-1, gone=10)], 1.0),
        ([marker(0, a=5000, b=-1)], 1.0),
    ],
)
def test_the_share_is_that_of_all_partitions_in_the_shard_that_has_least(markers: list[Marker], share: float) -> None:
    memory = Memory(["a", "b"])
    memory.saw(markers, WINDOW_MS)
    assert memory.progress == pytest.approx(share)


def test_where_nothing_is_read_back_everything_is_remembered() -> None:
    memory = Memory()
    memory.saw([marker(0)], WINDOW_MS)
    assert (memory.progress, memory.is_whole) == (1.0, True)


def test_the_seconds_left_follow_the_pace_so_far_and_count_down_between_two_steps() -> None:
    pace = Pace(began_at=100.0, began_with=0.2)
    pace.saw(0.2, 105.0)
    assert pace.seconds_left(105.0) is None
    pace.saw(0.6, 110.0)  # 0.4 in 10 s
    assert pace.seconds_left(110.0) == pytest.approx(10.0)
    pace.saw(0.6, 113.0)
    assert pace.seconds_left(113.0) == pytest.approx(7.0)
    pace.saw(0.8, 120.0)
    assert pace.seconds_left(120.0) == pytest.approx(20 / 3)


def test_an_estimate_that_has_run_out_is_not_told_any_more() -> None:
    pace = Pace(began_at=0.0, began_with=0.0)
    pace.saw(0.5, 10.0)
    assert pace.seconds_left(19.0) == pytest.approx(1.0)
    assert pace.seconds_left(21.0) is None
    pace.saw(0.9, 27.0)
    assert pace.seconds_left(27.0) == pytest.approx(3.0)


def test_the_deployment_is_as_far_as_the_least_of_its_pods() -> None:
    ahead, behind = RebuildProgress(5, 0.9, True, 1.0), RebuildProgress(4, 0.4, False, 60.0)
    assert progress_of_all([ahead, None, behind]) == RebuildProgress(4, 0.4, False, 60.0)
    unknown = msgspec.structs.replace(behind, seconds_left=None)
    assert progress_of_all([ahead, unknown]) == unknown
    assert progress_of_all([None, None]) is None
    assert progress_of_all([]) is None


def test_it_is_told_in_a_few_words() -> None:
    assert str(RebuildProgress(1, 0.637, True, 41.2)) == "63 %, 41 s left"
    assert str(RebuildProgress(1, 0.9999, True)) == "99 %"


def test_pods_tell_each_other_and_a_pod_of_before_tells_nothing() -> None:
    report = PodReport("2", 1, rebuild=RebuildProgress(5, 0.5, True, 3.0))
    assert decode(encode(report)) == report
    assert decode(b'{"version": "1", "started_ms": 1}').rebuild is None
