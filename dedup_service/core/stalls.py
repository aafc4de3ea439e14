"""When a pod gives a partition up: it makes no progress there, and another pod does make progress.

A pod that is cut off from a hub, but not from Redis, would otherwise keep its partitions for ever. Where nobody makes
progress, the hub itself is away, and everyone keeps what they have: nothing is won by passing partitions round.
"""

from __future__ import annotations

STALL_SECONDS = 15.0
"""How long a partition may stand still before it is given up."""
HOLD_SECONDS = 60.0
"""A partition is not given up within this time of being taken, nor taken back within this time of being given up. Where no
pod can work on it, it goes round no faster than that."""
MARGIN_SECONDS = 5.0
"""Another pod's progress says something only when it was made this much later than the stall began: pods do not notice at
the same moment that a hub is away."""


def is_hopeless(now: float, taken_at: float, stalled_since: float | None, others_progressed_ago: float) -> bool:
    """Whether to give up a partition that has been taken at `taken_at` and stands still since `stalled_since` (monotonic
    seconds). `others_progressed_ago`: seconds since any other pod made progress."""
    if stalled_since is None or now - stalled_since < STALL_SECONDS or now - taken_at < HOLD_SECONDS:
        return False
    return now - others_progressed_ago >= stalled_since + MARGIN_SECONDS
