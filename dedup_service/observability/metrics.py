"""Prometheus metrics: this pod's counters, and the state of the deployment, which is the same from every pod.

Labels are bounded: groups by configuration, replicas by 31 and `other` in each group, reasons and dependencies by this code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from dedup_service.core.overview import GroupOverview, ReplicaOverview
from dedup_service.core.rebuild_progress import RebuildProgress
from dedup_service.observability.shared_overview import Overview
from dedup_service.telemetry import Count, Telemetry, lag_seconds


class TelemetryCollector(Collector):
    """Exports a Telemetry to Prometheus."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        for count in Count:
            name, label, documentation = count.value
            family = CounterMetricFamily(name, documentation, labels=[label] if label else [])
            values = self._telemetry.counts[count] or ({} if label else {"": 0})
            for value, number in tuple(values.items()):
                family.add_metric([value] if label else [], number)
            yield family
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        telemetry = self._telemetry
        now_ms = time.time_ns() // 1_000_000
        lag = GaugeMetricFamily(
            "dedup_partition_lag_seconds", "Age of the oldest event that may be unfinished.", labels=["partition"]
        )
        for partition_id, figures in tuple(telemetry.partitions.items()):
            lag.add_metric([partition_id], lag_seconds(figures, now_ms))
        yield lag
        oldest = GaugeMetricFamily(
            "dedup_partition_oldest_event_seconds",
            "Age of the oldest event that was received since the partition was taken; the hub's retention is at least that.",
            labels=["partition"],
        )
        for partition_id, figures in tuple(telemetry.partitions.items()):
            oldest.add_metric([partition_id], figures.oldest_ms / 1000)
        yield oldest
        yield GaugeMetricFamily("dedup_partitions_owned", "Partitions that this pod owns.", len(telemetry.partitions))
        paused = GaugeMetricFamily("dedup_paused", "1 while a dependency is unavailable.", labels=["dependency"])
        for dependency in dict.fromkeys(map(str, tuple(telemetry.paused))):
            paused.add_metric([dependency], 1)
        yield paused
        yield from _rebuild_gauges(telemetry.rebuild)


def _rebuild_gauges(progress: RebuildProgress | None) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "dedup_rebuild_progress_ratio",
        "Share of the window whose claims are read back after Redis forgot; 1 while nothing is forgotten.",
        1.0 if progress is None else progress.share,
    )
    left = GaugeMetricFamily(
        "dedup_rebuild_remaining_seconds", "Until all claims are read back, as estimated; no value while that can't be told."
    )
    seconds = 0.0 if progress is None else progress.seconds_left
    if seconds is not None:
        left.add_metric([], seconds)
    yield left


GROUP_GAUGES: dict[str, tuple[str, Callable[[GroupOverview], float | None]]] = {
    "dedup_group_expected_replicas": ("Replicas that should send.", lambda g: g.expected),
    "dedup_group_live_replicas": ("Replicas that do send.", lambda g: g.live),
    "dedup_group_readings_per_second": ("Unique readings, over the last 15 minutes.", lambda g: g.readings_per_second),
    "dedup_group_sole_source_ratio": (
        "Share of readings that a single replica delivered, over the last 15 minutes.",
        lambda g: g.figures["15m"].sole_source_share,
    ),
    "dedup_group_missing_readings": (
        "Sequence numbers that no replica delivered, over the last 24 hours.",
        lambda g: g.figures["24h"].missing,
    ),
    "dedup_group_conflicting_copies": (
        "Copies whose content differs from the winner's, over the last 15 minutes.",
        lambda g: g.figures["15m"].conflicts,
    ),
    "dedup_group_copy_spread_seconds": (
        "Between the first copy of a reading and one of another replica, 99.9th percentile over the last 24 hours.",
        lambda g: _seconds(g.figures["24h"].spread_p999_ms),
    ),
    "dedup_group_window_seconds": ("How long a published reading is remembered.", lambda g: g.group.window_ms / 1000),
}
REPLICA_GAUGES: dict[str, tuple[str, Callable[[ReplicaOverview], float | None]]] = {
    "dedup_replica_live": ("1 while it sends, 0 when it is silent.", lambda r: float(r.state == "live")),
    "dedup_replica_last_seen_timestamp_seconds": ("Enqueued time of its newest copy.", lambda r: r.last_seen_ms / 1000),
    "dedup_replica_coverage_ratio": (
        "Share of its group's readings that it delivered, over the last 15 minutes.",
        lambda r: r.figures["15m"].coverage,
    ),
    "dedup_replica_first_ratio": (
        "Share of its group's readings that it delivered first, over the last 15 minutes.",
        lambda r: r.figures["15m"].first_share,
    ),
    "dedup_replica_lag_p99_seconds": (
        "How long after the winner its duplicates were enqueued, over the last 15 minutes.",
        lambda r: _seconds(r.figures["15m"].lag_p99_ms),
    ),
}


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


class FleetCollector(Collector):
    """Exports the state of the deployment as this pod last saw it; without groups until then."""

    def __init__(self, overview: Callable[[], Overview | None]) -> None:
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        overview = self._overview()
        groups = overview.groups if overview is not None else []
        yield from _gauges(GROUP_GAUGES, ["group"], [((item.group.name,), item) for item in groups])
        replicas = [((r.group, r.name), r) for item in groups for r in item.replicas]
        yield from _gauges(REPLICA_GAUGES, ["group", "replica"], replicas)
        if overview is not None:
            memory = overview.memory
            yield GaugeMetricFamily("dedup_redis_used_bytes", "Memory that Redis uses.", memory.used_bytes)
            yield GaugeMetricFamily("dedup_redis_limit_bytes", "maxmemory, or all memory; 0: unknown.", memory.limit_bytes)
            yield GaugeMetricFamily(
                "dedup_redis_projected_claims_bytes", "Claims of a full window at present rates.", overview.projected_bytes
            )
            yield CounterMetricFamily("dedup_redis_evicted_keys", "Keys that Redis has evicted.", memory.evicted_keys)


def _gauges(
    declared: dict[str, tuple[str, Callable[[Any], float | None]]], labels: list[str], items: Any
) -> Iterator[Metric]:
    for name, (documentation, value_of) in declared.items():
        family = GaugeMetricFamily(name, documentation, labels=labels)
        for values, item in items:
            value = value_of(item)
            if value is not None:
                family.add_metric(values, value)
        yield family


def create_registry(telemetry: Telemetry, overview: Callable[[], Overview | None]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(TelemetryCollector(telemetry))
    registry.register(FleetCollector(overview))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry
