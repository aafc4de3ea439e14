"""Makes what a pod needs to rebuild claims, of its settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass

from dedup_service.config.settings import Settings
from dedup_service.core.groups import OBSERVE, Group
from dedup_service.core.markers import Memory
from dedup_service.ports.claims import ClaimStore, Markers
from dedup_service.ports.clock import Clock
from dedup_service.ports.hubs import CleanTail
from dedup_service.rebuild.past import Past
from dedup_service.rebuild.published import PublishedReader
from dedup_service.rebuild.reading_back import ReadingBack
from dedup_service.rebuild.rebuilder import Rebuilder, RebuildOptions
from dedup_service.telemetry import Telemetry

MIN_HORIZON_MS, MAX_HORIZON_MS = 120_000, 900_000
"""One gateway that was offline for hours must not make live data wait until hours are read back: its copies wait."""
HORIZON_SPREADS = 4
"""Back to how many copy spreads ago the clean stream is read before live data goes on."""


@dataclass(frozen=True, slots=True)
class RebuildPorts:
    tail: CleanTail
    claims: ClaimStore
    markers: Markers
    clock: Clock
    telemetry: Telemetry


def make_memory(settings: Settings, clean_partitions: list[str]) -> Memory:
    read_back = clean_partitions if settings.on_redis_loss == "rebuild" else []
    return Memory(read_back, settings.shard_count, round(settings.clock_error_seconds * 1000))


def make_rebuilder(
    pod_id: str,
    settings: Settings,
    ports: RebuildPorts,
    memory: Memory,
    published: PublishedReader,
    groups: Iterable[Group],
    spread_ms: Callable[[], float],
    clean_partitions: Collection[str],
    may_have_worked: Callable[[], Awaitable[bool]],
) -> Rebuilder:
    """`spread_ms`: the copy spread, as it was last known. At least one of the groups publishes."""
    clock, telemetry = ports.clock, ports.telemetry
    options = RebuildOptions(
        settings.lease_seconds,
        max(group.window_ms for group in groups if group.mode != OBSERVE),
        lambda: horizon_ms(settings.rebuild_horizon_seconds, spread_ms()),
        lambda: telemetry.lag_spread_ms(clock.now_ms()),
    )
    reading_back = ReadingBack(ports.tail, ports.claims, ports.markers, published, clock, telemetry)
    past = Past(may_have_worked, ports.tail, clean_partitions, clock, telemetry)
    return Rebuilder(pod_id, memory, ports.markers, reading_back, clock, telemetry, options, past)


def horizon_ms(configured_seconds: float | None, spread_ms: float) -> int:
    if configured_seconds is not None:
        return max(1, round(configured_seconds * 1000))
    return min(max(MIN_HORIZON_MS, round(HORIZON_SPREADS * spread_ms)), MAX_HORIZON_MS)
