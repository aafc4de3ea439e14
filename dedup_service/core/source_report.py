"""What the counters say about one source: whether it can be deduplicated, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dedup_service.core.accounting import Counts, GroupFigures, distances, group_figures, percentile, replica_figures
from dedup_service.core.stamps import why_never_matching
from dedup_service.core.traps import Trap, TrapKind
from dedup_service.core.watchdogs import watchdog

GOOD_MATCH, NO_MATCH = 0.95, 0.05
MANY = 0.01
"""Share of copies above which conflicts or repetitions are mentioned."""
FEW_READINGS = 20
"""Fewer readings than this say nothing."""
FEW_TO_COMPARE = FEW_READINGS // 2
"""Nor do fewer readings than this of the replica that delivered second most."""


class Lack(StrEnum):
    """What is missing to decide whether a source can be deduplicated, as programs read it in the report."""

    ONE_READING = "one-reading"
    ONE_SENDER = "one-sender"
    FEW_READINGS = "few-readings"


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    replica: str
    copies: int
    readings: int
    """How many different ones it delivered."""
    match_rate: float | None
    """Share of its readings that another replica delivered too."""
    coverage: float | None
    """None where it is not known, since Redis forgot a part of what was counted."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    source: str
    readings: int
    copies: int
    match_rate: float | None
    """Share of readings that at least two replicas delivered."""
    duplicate_share: float | None
    """Share of copies that are duplicates."""
    conflicts: int
    missing: int
    nearest_ms: float | None
    """Median distance in source time from an unmatched reading to the nearest one of another replica."""
    replicas: list[ReplicaReport]
    can_be_deduplicated: bool | None
    """None while it is undecided."""
    verdict: str
    undecided: Lack | None = None
    trap: Trap | None = None
    """What keeps its copies from matching, where it is something that is known."""

    @property
    def only_sender(self) -> str | None:
        """The one replica that sends it; None where there are several, or none."""
        senders = [item.replica for item in self.replicas if item.copies]
        return senders[0] if len(senders) == 1 else None


def source_report(
    source: str,
    counts: Counts,
    missing: int,
    names: dict[int, str],
    *,
    is_observed: bool = True,
    complete: bool = True,
) -> SourceReport:
    """`is_observed`: whether the source's group has the mode `observe`. `complete`: False where counts were forgotten."""
    figures = group_figures(counts)
    replicas = [_replica(counts, number, name, complete) for number, name in names.items()]
    senders = [item for item in replicas if item.copies]
    trap = watchdog(counts, names) if figures.readings >= FEW_READINGS and len(senders) > 1 else None
    lack = _lack(figures.readings, senders) if trap is None else None
    if trap is None and lack is None and _best_match(senders) <= NO_MATCH:
        trap = why_never_matching(counts, names, is_observed=is_observed)
    if trap is not None:
        verdict = trap.text
    elif lack is not None:
        verdict = _missing(lack, figures.readings, senders)
    else:
        verdict = _verdict(counts, senders, names)
    return SourceReport(
        source=source,
        readings=figures.readings,
        copies=figures.copies,
        match_rate=_match_rate(figures) if figures.readings else None,
        duplicate_share=1 - figures.readings / figures.copies if figures.copies else None,
        conflicts=figures.conflicts,
        missing=missing,
        nearest_ms=percentile(distances(counts), 0.5),
        replicas=replicas,
        can_be_deduplicated=_can_be_deduplicated(trap, lack),
        verdict=verdict,
        undecided=lack,
        trap=trap,
    )


def _match_rate(figures: GroupFigures) -> float:
    return 1 - figures.by_replicas.get(1, 0) / figures.readings


def _replica(counts: Counts, number: int, name: str, complete: bool) -> ReplicaReport:
    figures = replica_figures(counts, number, complete=complete)
    delivered = figures.first + figures.matched
    rate = 1 - figures.sole / delivered if delivered else None
    return ReplicaReport(name, figures.copies, delivered, rate, figures.coverage)


def _can_be_deduplicated(trap: Trap | None, lack: Lack | None) -> bool | None:
    if trap is not None:
        return trap.kind is TrapKind.WATCHDOG
    return True if lack is None else None


def _lack(readings: int, senders: list[ReplicaReport]) -> Lack | None:
    if readings == 1:
        return Lack.ONE_READING
    if len(senders) == 1:
        return Lack.ONE_SENDER
    is_little = readings < FEW_READINGS or _to_compare(senders) < FEW_TO_COMPARE
    return Lack.FEW_READINGS if is_little else None


def _to_compare(senders: list[ReplicaReport]) -> int:
    """Readings of the replica that delivered second most: no more can be those of another one, too."""
    return sorted((item.readings for item in senders), reverse=True)[1] if len(senders) > 1 else 0


def _best_match(senders: list[ReplicaReport]) -> float:
    """Of the replicas that delivered enough. That of one which was away for long says nothing against ids that match in
    whatever the others deliver."""
    return max((item.match_rate or 0.0 for item in senders if item.readings >= FEW_TO_COMPARE), default=0.0)


def _missing(lack: Lack, readings: int, senders: list[ReplicaReport]) -> str:
    if lack is Lack.ONE_SENDER:
        return f"only {senders[0].replica} sends it: there is no second copy yet"
    if readings >= FEW_READINGS:
        return f"only {_to_compare(senders)} readings of a second replica so far: look again later"
    return f"only {readings} {'reading' if readings == 1 else 'readings'} so far: look again later"


def _verdict(counts: Counts, senders: list[ReplicaReport], names: dict[int, str]) -> str:
    """Of a source of which enough is known, and that is in no trap."""
    figures = group_figures(counts)
    if figures.conflicts > MANY * figures.copies:
        return f"{figures.conflicts} copies differ in content: list what they must agree on (`content` of the group)"
    repeating = [
        name for number, name in names.items() if replica_figures(counts, number).self_duplicates > MANY * figures.copies
    ]
    if repeating:
        return f"repeated by {', '.join(repeating)}: heartbeats, key frames, or a sender that runs twice"
    if (match_rate := _match_rate(figures)) < GOOD_MATCH:
        known = [(item.coverage, item.replica) for item in senders if item.coverage is not None]
        lowest = min(known, default=None)
        low = "" if lowest is None else f"; {lowest[1]} delivers only {lowest[0]:.0%}"
        return f"{match_rate:.0%} have a second copy{low}"
    return "good"
