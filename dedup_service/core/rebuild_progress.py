"""How far a rebuild of claims is, and how long the rest of it takes (R12)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec


class RebuildProgress(msgspec.Struct, frozen=True):
    """While the claims that Redis lacks are read back from the clean stream."""

    forgot_ms: int
    """Since when Redis has lacked them, by its clock."""
    share: float
    """How much of the window is read back, from 0 to 1."""
    is_ready: bool
    """Whether live data goes on: all shards are read back to the horizon."""
    seconds_left: float | None = None
    """None while that can't be told."""

    def __str__(self) -> str:
        """Such as `63 %, 41 s left`."""
        left = "" if self.seconds_left is None else f", {self.seconds_left:.0f} s left"
        return f"{int(self.share * 100)} %{left}"


def progress_of_all(pods: Iterable[RebuildProgress | None]) -> RebuildProgress | None:
    """The deployment's: the least of its pods. None where no pod takes part in a rebuild."""
    found = [progress for progress in pods if progress is not None]
    if not found:
        return None
    least = min(found, key=lambda progress: progress.share)
    known = [progress.seconds_left for progress in found if progress.seconds_left is not None]
    return RebuildProgress(
        min(progress.forgot_ms for progress in found),
        least.share,
        all(progress.is_ready for progress in found),
        max(known) if len(known) == len(found) else None,
    )


@dataclass(slots=True)
class Pace:
    """How fast the share grows, since `began_at`. Times are monotonic seconds."""

    began_at: float
    began_with: float
    _last_at: float = 0.0
    _last: float = 0.0

    def saw(self, share: float, now: float) -> None:
        if share > max(self._last, self.began_with):
            self._last, self._last_at = share, now

    def seconds_left(self, now: float) -> float | None:
        """Counts down between two steps of the share. None before the first one, and when the next one takes so long that
        the estimate is disproved."""
        gained = self._last - self.began_with
        if gained <= 0:
            return None
        left = (1 - self._last) * (self._last_at - self.began_at) / gained - (now - self._last_at)
        return left if left >= 0 else None
