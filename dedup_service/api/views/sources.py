"""Answers about sources, and what of them no replica delivered."""

from __future__ import annotations

from pydantic import Field

from dedup_service.api.views.base import Page, View
from dedup_service.core.accounting import Counts, Gap, group_figures
from dedup_service.observability.fleet import SourceOverview, coverage_by_replica


class SourceView(View):
    group: str
    source: str
    last_processed_ms: int
    readings: int = Field(description="Over 24 h, like all figures here.")
    copies: int
    conflicts: int
    late: int
    missing: int = Field(description="Sequence numbers that no replica delivered.")
    by_replicas: dict[int, int]
    coverage: dict[str, float | None] = Field(description="By replica; null where Redis forgot a part of what was counted.")
    complete: bool

    @classmethod
    def of(cls, group: str, item: SourceOverview, names: dict[int, str]) -> SourceView:
        figures = item.figures
        return cls(
            group=group,
            source=item.seen.source,
            last_processed_ms=item.seen.processed_ms,
            readings=figures.readings,
            copies=figures.copies,
            conflicts=figures.conflicts,
            late=figures.late,
            missing=item.missing,
            by_replicas=figures.by_replicas,
            coverage=coverage_by_replica(item.counts, names, complete=item.complete),
            complete=item.complete,
        )


class TogetherView(View):
    group: str
    readings: int
    copies: int
    conflicts: int

    @classmethod
    def of(cls, group: str, counts: Counts) -> TogetherView:
        figures = group_figures(counts)
        return cls(group=group, readings=figures.readings, copies=figures.copies, conflicts=figures.conflicts)


class SourcesPage(Page[SourceView]):
    counted_together: list[TogetherView] = Field(
        description="What sources beyond DEDUP_MAX_SOURCES brought in 24 h, of each group that has such. Their copies are "
        "deduplicated and counted in the group like all others; they are not listed, and their gaps are not followed."
    )


class GapView(View):
    group: str
    source: str
    epoch: str
    first: int
    last: int
    missing: int
    found_ms: int = Field(description="When the gap was noticed.")

    @classmethod
    def of(cls, group: str, source: str, gap: Gap) -> GapView:
        return cls(
            group=group,
            source=source,
            epoch=gap.epoch,
            first=gap.first,
            last=gap.last,
            missing=gap.last - gap.first + 1,
            found_ms=gap.found_ms,
        )
