"""How long to wait between attempts to reach what is away: short at first, and longer the longer it has been away. Pure."""

from __future__ import annotations

SHARE = 0.25
"""Of the time that it has been away: whatever comes back is noticed after at most so much more of it."""


def pause_seconds(away_seconds: float, *, first: float, most: float) -> float:
    return min(most, max(first, SHARE * away_seconds))
