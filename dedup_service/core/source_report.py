"""What the counters say about one source: whether it can be deduplicated, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass

from dedup_service.core.accounting import Counts, distances, group_figures, percentile, replica_figures
from dedup_service.core.stamps import why_never_matching
from dedup_service.core.traps import Trap, TrapKind
from dedup_service.core.watchdogs import watchdog

GOOD_MATCH, NO_MATCH = 0.95, 0.05
MANY = 0.01
"""Share of copies above which conflicts or repetitions are mentioned."""
FEW_READINGS = 20
"""Fewer readings than this say nothing."""


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    replica: str
    copies: int
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
    can_be_deduplicated: bool
    verdict: str
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
    matched = figures.readings - figures.by_replicas.get(1, 0)
    match_rate = matched / figures.readings if figures.readings else None
    replicas = [_replica(counts, number, name, complete) for number, name in names.items()]
    senders = [item for item in replicas if item.copies]
    trap = None
    if match_rate is not None and figures.readings >= FEW_READINGS and len(senders) > 1:
        trap = watchdog(counts, names)
        if trap is None and match_rate <= NO_MATCH:
            trap = why_never_matching(counts, names, is_observed=is_observed)
    return SourceReport(
        source=source,
        readings=figures.readings,
        copies=figures.copies,
        match_rate=match_rate,
        duplicate_share=1 - figures.readings / figures.copies if figures.copies else None,
        conflicts=figures.conflicts,
        missing=missing,
        nearest_ms=percentile(distances(counts), 0.5),
        replicas=replicas,
        can_be_deduplicated=trap is None or trap.kind is TrapKind.WATCHDOG,
        verdict=_verdict(counts, match_rate, senders, names) if trap is None else trap.text,
        trap=trap,
    )


def _replica(counts: Counts, number: int, name: str, complete: bool) -> ReplicaReport:
    figures = replica_figures(counts, number, complete=complete)
    delivered = figures.first + figures.matched
    rate = 1 - figures.sole / delivered if delivered else None
    return ReplicaReport(name, figures.copies, rate, figures.coverage)


def _verdict(counts: Counts, match_rate: float | None, senders: list[ReplicaReport], names: dict[int, str]) -> str:
    """Of a source without a trap."""
    figures = group_figures(counts)
    if figures.readings < FEW_READINGS or match_rate is None:
        return f"only {figures.readings} readings so far: look again later"
    if len(senders) == 1:
        return f"only {senders[0].replica} sends it: there is no second copy yet"
    if figures.conflicts > MANY * figures.copies:
        return f"{figures.conflicts} copies differ in content: list what they must agree on (`content` of the group)"
    repeating = [
        name for number, name in names.items() if replica_figures(counts, number).self_duplicates > MANY * figures.copies
    ]
    if repeating:
        return f"repeated by {', '.join(repeating)}: heartbeats, key frames, or a sender that runs twice"
    if match_rate < GOOD_MATCH:
        known = [(item.coverage, item.replica) for item in senders if item.coverage is not None]
        lowest = min(known, default=None)
        low = "" if lowest is None else f"; {lowest[1]} delivers only {lowest[0]:.0%}"
        return f"{match_rate:.0%} have a second copy{low}"
    return "good"
