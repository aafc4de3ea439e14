"""Between which bounds the partitions' lags lie, at whatever time that is asked: two moments say it for any number of
partitions.

A lag is 0, or the time since a moment: that of the newest event that is finished, or that from which nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

NO_LAG_MS = 2**62
"""Stands for the moment of a partition that is up to date: it is never passed."""


class LagBounds(msgspec.Struct, frozen=True, array_like=True):
    slowest_since_ms: int
    """The moment of the partition that is farthest behind, in ms since the epoch."""
    fastest_since_ms: int

    def spread_ms(self, now_ms: int) -> int:
        """How far the slowest partition is behind the fastest one."""
        return max(0, now_ms - self.slowest_since_ms) - max(0, now_ms - self.fastest_since_ms)


def bounds_of(since_ms: Iterable[int]) -> LagBounds | None:
    """Of partitions, given by their moments; None without any."""
    moments = list(since_ms)
    return LagBounds(min(moments), max(moments)) if moments else None


def joined(*all_bounds: LagBounds | None) -> LagBounds | None:
    """The bounds that hold for all of these."""
    known = [bounds for bounds in all_bounds if bounds is not None]
    return bounds_of(moment for bounds in known for moment in (bounds.slowest_since_ms, bounds.fastest_since_ms))
