"""What an overview costs grows with what was counted, and not with that times the number of replicas."""

from __future__ import annotations

from dedup_service.core.overview import ReplicaSeen, group_overview, periods
from tests.support.cpu_time import seconds_of
from tests.support.groups import group_of
from tests.support.overview import NOW_MS

REPLICAS, BUCKETS = 31, 60
COUNTS = {f"h{n}:{bucket}": 1 for n in range(REPLICAS) for bucket in range(BUCKETS)} | {"f0": 60, "d1": 60}


def cost(replicas: int) -> float:
    """CPU seconds."""
    minutes, _ = periods(NOW_MS)
    seen = [ReplicaSeen(f"edge-{n}", n, NOW_MS, NOW_MS) for n in range(replicas)]
    return seconds_of(lambda: group_overview(group_of(), [*({} for _ in minutes), COUNTS], COUNTS, seen, NOW_MS))


def test_the_counters_of_all_replicas_are_looked_at_once() -> None:
    one, all_of_them = cost(1), cost(REPLICAS)
    print(f"{one * 1000:.1f} ms, {all_of_them * 1000:.1f} ms")
    assert all_of_them < 3 * one
