"""An overview of a deployment, made from hand-written counts."""

from __future__ import annotations

from dedup_service.core.overview import ReplicaSeen, group_overview, periods, projected_bytes
from dedup_service.observability.shared_overview import Overview
from dedup_service.ports.pods import RedisMemory
from tests.support.groups import group_of

NOW_MS = 1_800_000_000_000


def overview_of() -> Overview:
    """Three replicas are expected; one is live, one silent, one was never seen."""
    counts = {"f0": 90, "d1": 60, "f1": 10, "r1": 40, "r2": 60, "h1:60": 60, "x1": 2, "g+": 3, "g-": 1}
    minutes, _ = periods(NOW_MS)
    seen = [ReplicaSeen("edge-0", 0, NOW_MS, NOW_MS), ReplicaSeen("edge-1", 1, NOW_MS - 60_000, NOW_MS - 60_000)]
    by_minute = [counts if n == minutes[-1] else {} for n in minutes]
    overview = group_overview(group_of(expected_replicas=3), by_minute, counts, seen, NOW_MS)
    return Overview(NOW_MS, [overview], RedisMemory(10, 100, 0), projected_bytes([overview]))
