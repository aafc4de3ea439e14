"""What is told of a rebuild: lines in the log, and the progress that metrics, API and dashboard show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dedup_service.core.markers import Marker
from dedup_service.core.rebuild_progress import Pace, RebuildProgress
from dedup_service.ports.clock import Clock
from dedup_service.telemetry import Telemetry

PROGRESS_SECONDS = 10.0
"""Interval of the lines on its progress."""


@dataclass(slots=True)
class Reports:
    """On one rebuild, from when this pod sees it until the whole window is read back."""

    clock: Clock
    telemetry: Telemetry
    generations: frozenset[tuple[int, int]]
    """The shards that lack claims, with the generations of their markers."""
    _began_at: float = field(init=False)
    _logged_at: float = field(init=False)
    _pace: Pace | None = None
    _was_ready: bool = False

    def __post_init__(self) -> None:
        self._began_at = self._logged_at = self.clock.monotonic()

    def are_on(self, lacking: Sequence[Marker]) -> bool:
        return generations_of(lacking) <= self.generations

    def saw(self, lacking: Sequence[Marker], share: float, *, is_read: bool) -> None:
        """`lacking`: the markers that are not whole, of which there is at least one. `is_read`: whether some may be read
        back by now, and do not wait for leases of before."""
        now = self.clock.monotonic()
        if is_read and self._pace is None:
            self._pace = Pace(now, share)
        if self._pace is not None:
            self._pace.saw(share, now)
        is_ready = all(marker.is_ready for marker in lacking)
        if is_ready and not self._was_ready:
            self.telemetry.claims_ready(now - self._began_at)
        self._was_ready = is_ready
        left = None if self._pace is None else self._pace.seconds_left(now)
        progress = RebuildProgress(min(marker.since_ms for marker in lacking), share, is_ready, left)
        self.telemetry.rebuild = progress
        if now - self._logged_at >= PROGRESS_SECONDS:
            self._logged_at = now
            self.telemetry.rebuild_goes_on(progress, now - self._began_at)

    def end(self) -> None:
        """Everything is read back."""
        seconds = self.clock.monotonic() - self._began_at
        if not self._was_ready:
            self.telemetry.claims_ready(seconds)
        self.telemetry.rebuild = None
        self.telemetry.claims_rebuilt(seconds)


def generations_of(markers: Sequence[Marker]) -> frozenset[tuple[int, int]]:
    return frozenset((marker.shard, marker.generation) for marker in markers)
