"""Replicas that repeat old values with new times: a watchdog, or a heartbeat, that invents times.

Such a reading has no copy anywhere. It is known by two things together: its content is that of the replica's last reading,
and what is unchanged never matches, although what changes does. In a source whose values stay for long, what is unchanged
matches as well; where a replica is down, what changes does not match either.
"""

from __future__ import annotations

from collections.abc import Mapping

from dedup_service.core.accounting import Counts, group_figures, replica_figures, unchanged
from dedup_service.core.traps import Trap, TrapKind

FEW = 5
MANY = 0.05
"""Of a source's readings; fewer are not mentioned."""
RARELY, MOSTLY = 0.1, 0.5


def watchdog(counts: Counts, names: Mapping[int, str]) -> Trap | None:
    by_replica, matched_unchanged = unchanged(counts)
    figures, repeats = group_figures(counts), sum(by_replica.values())
    matched_changes = figures.readings - figures.by_replicas.get(1, 0) - matched_unchanged
    changes = figures.readings - repeats
    if matched_unchanged > RARELY * repeats or matched_changes < max(1, MOSTLY * changes):
        return None
    least = max(FEW, MANY * figures.readings)
    found = {
        names.get(number, "one replica"): n for number, n in sorted(by_replica.items()) if _sole(counts, number, n) >= least
    }
    if not found:
        return None
    told = " and ".join(f"{name} ({n:,} times)" for name, n in found.items())
    text = (
        f"{told} repeated an old value with a new time, which nothing can match: a watchdog or heartbeat that invents "
        "times. Turn it off there, or let it keep the old time (OPC Publisher: a behaviour without UpdatedTimestamps)"
    )
    return Trap(TrapKind.WATCHDOG, text, tuple(found))


def _sole(counts: Counts, number: int, repeats: int) -> int:
    """How many of a replica's repeats can be readings that only it delivered."""
    return min(repeats, replica_figures(counts, number).sole)
