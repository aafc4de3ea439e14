"""The state of the redundancy: what the counters say about groups and replicas, now and over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from dedup_service.core.accounting import (
    HOUR_MS,
    MINUTE_MS,
    Counts,
    GroupFigures,
    ReplicaFigures,
    figures_of_replicas,
    group_figures,
    group_readings,
    total,
)
from dedup_service.core.claims import MAX_REPLICAS, OTHER_REPLICA
from dedup_service.core.groups import Group

GroupState = Literal["full", "degraded", "at-risk", "silent", "empty"]
"""All expected replicas are live; some are silent or were never seen; one is left; none is live; none was ever seen."""
ReplicaState = Literal["live", "silent"]
"""A replica is silent when none of its copies was processed for longer than its group allows."""
WindowState = Literal["wide", "close", "short"]
"""How the window compares with the spread of copies over 24 h."""
PERIODS = ("1m", "15m", "24h")
"""Each is at least this long: the current minute (hour) and as many full ones before it."""
CLOSE_TO_WINDOW, TOO_CLOSE = 0.5, 0.9
"""Shares of the window that the spread of copies takes up. A copy that arrives after the window is published again and no
longer recognised as a copy, so the warning must come earlier."""
TOTALS = (*(f"{letter}{number}" for letter in "fdsbxl" for number in range(MAX_REPLICAS)), "g+", "g-")
"""The counters that say how much there was of what in a group, without those of its histograms, which are most."""
BYTES_PER_CLAIM = 160
"""Cautious estimate of Redis' memory: 121 were measured with Valkey 9 (tests/contract/test_ledger.py); older servers need
more."""


@dataclass(frozen=True, slots=True)
class ReplicaSeen:
    name: str
    number: int
    enqueued_ms: int
    """When its newest copy was enqueued in the input hub; 0 while nothing was counted."""
    processed_ms: int
    """When that copy was processed, by Redis' clock."""


class ReplicaOverview(msgspec.Struct, frozen=True, array_like=True):
    group: str
    name: str
    number: int
    state: ReplicaState
    last_seen_ms: int
    silent_seconds: float
    figures: dict[str, ReplicaFigures]
    """By period."""


@dataclass(frozen=True, slots=True)
class GroupOverview:
    group: Group
    state: GroupState
    expected: int
    """As configured, or else the number of replicas that were seen."""
    live: int
    figures: dict[str, GroupFigures]
    replicas: list[ReplicaOverview]
    window_state: WindowState
    readings_per_second: float
    """Average over the 15 minutes before the current one, or since the first readings in them."""


def periods(now_ms: int) -> tuple[list[int], list[int]]:
    """Numbers of the minutes and hours that an overview needs, newest last."""
    minute, hour = now_ms // MINUTE_MS, now_ms // HOUR_MS
    return list(range(minute - 15, minute + 1)), list(range(hour - 24, hour + 1))


def is_complete(start_ms: int, forgot_ms: int | None) -> bool:
    """Whether nothing that was counted from then on is forgotten. `forgot_ms`: when Redis last forgot."""
    return forgot_ms is None or forgot_ms <= start_ms


def figures_since_ms(start_ms: int, forgot_ms: int | None) -> int | None:
    """Where figures of a period begin that should begin at `start_ms`; None where they do begin there."""
    return None if is_complete(start_ms, forgot_ms) else forgot_ms


def day_start_ms(now_ms: int, hours: int = 24) -> int:
    """Where the figures of so many hours begin."""
    return (now_ms // HOUR_MS - hours) * HOUR_MS


def _complete_periods(now_ms: int, forgot_ms: int | None) -> dict[str, bool]:
    minute = now_ms // MINUTE_MS
    starts = {"1m": (minute - 1) * MINUTE_MS, "15m": (minute - 15) * MINUTE_MS, "24h": day_start_ms(now_ms)}
    return {period: is_complete(start_ms, forgot_ms) for period, start_ms in starts.items()}


def group_overview(
    group: Group,
    minutes: Sequence[Counts],
    hours: Counts,
    seen: Sequence[ReplicaSeen],
    now_ms: int,
    forgot_ms: int | None = None,
) -> GroupOverview:
    """`minutes` are the counts for `periods`, and `hours` those of all hours together. `forgot_ms`: when Redis last forgot
    what it had counted."""
    complete = _complete_periods(now_ms, forgot_ms)
    counts = {"1m": total(minutes[-2:]), "15m": total(minutes), "24h": hours}
    numbers = [item.number for item in seen]
    of_replicas = {p: figures_of_replicas(counts[p], numbers, complete=complete[p]) for p in PERIODS}
    replicas = [_replica(group, item, {p: of_replicas[p][item.number] for p in PERIODS}, now_ms) for item in seen]
    live = sum(replica.state == "live" for replica in replicas)
    expected = _expected(group, seen)
    figures = {period: group_figures(counts[period], complete=complete[period]) for period in PERIODS}
    return GroupOverview(
        group=group,
        state=_state(live, expected, bool(replicas)),
        expected=expected,
        live=live,
        figures=figures,
        replicas=replicas,
        window_state=window_state(figures["24h"].spread_p999_ms, group.window_ms),
        readings_per_second=_rate(minutes),
    )


def _replica(group: Group, seen: ReplicaSeen, figures: dict[str, ReplicaFigures], now_ms: int) -> ReplicaOverview:
    silent_ms = max(0, now_ms - seen.processed_ms) if seen.processed_ms else 0
    is_live = bool(seen.processed_ms) and silent_ms <= group.silent_after_ms
    return ReplicaOverview(
        group=group.name,
        name=seen.name,
        number=seen.number,
        state="live" if is_live else "silent",
        last_seen_ms=seen.enqueued_ms,
        silent_seconds=silent_ms / 1000,
        figures=figures,
    )


def _expected(group: Group, seen: Sequence[ReplicaSeen]) -> int:
    """Those that are counted together count as one: no more can ever be seen."""
    can_be_seen = len(seen) if any(item.number == OTHER_REPLICA for item in seen) else MAX_REPLICAS
    return min(group.expected_replicas or len(seen), can_be_seen)


def _state(live: int, expected: int, any_seen: bool) -> GroupState:
    if not any_seen:
        return "empty"
    if live == 0:
        return "silent"
    if live >= expected:
        return "full"
    return "at-risk" if live == 1 else "degraded"


def window_state(spread_ms: float | None, window_ms: int) -> WindowState:
    share = (spread_ms or 0.0) / window_ms
    if share >= TOO_CLOSE:
        return "short"
    return "close" if share >= CLOSE_TO_WINDOW else "wide"


def _rate(minutes: Sequence[Counts]) -> float:
    full = [group_readings(counts) for counts in minutes[:-1]]
    while full and not full[0]:
        full.pop(0)
    return sum(full) / (60 * len(full)) if full else 0.0


def projected_bytes(overviews: Sequence[GroupOverview]) -> int:
    """How much of Redis' memory all claims of a full window will take up at the present rates."""
    return round(sum(o.readings_per_second * o.group.window_ms / 1000 * BYTES_PER_CLAIM for o in overviews))
