"""The log's lines on a rebuild."""

from __future__ import annotations

from dataclasses import dataclass, field

from dedup_service.ports import Clock
from dedup_service.telemetry import Telemetry

PROGRESS_SECONDS = 10.0
"""Interval of the lines on its progress."""


@dataclass(slots=True)
class Reports:
    clock: Clock
    telemetry: Telemetry
    _began_at: float = field(init=False)
    _logged_at: float = field(init=False)
    _was_ready: bool = False

    def __post_init__(self) -> None:
        self._began_at = self._logged_at = self.clock.monotonic()

    def saw(self, share: float, *, are_ready: bool, is_whole: bool) -> None:
        now = self.clock.monotonic()
        seconds = now - self._began_at
        if are_ready and not self._was_ready:
            self.telemetry.claims_ready(seconds)
        self._was_ready = are_ready
        if is_whole:
            self.telemetry.claims_rebuilt(seconds)
        elif now - self._logged_at >= PROGRESS_SECONDS:
            self._logged_at = now
            self.telemetry.rebuild_progress(share, seconds, seconds * (1 - share) / share if share else None)
