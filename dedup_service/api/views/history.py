"""Answers about what was, by time."""

from __future__ import annotations

from pydantic import Field

from dedup_service.api.views.base import View
from dedup_service.core.accounting import Counts, group_figures
from dedup_service.core.flow import Step
from dedup_service.core.timeline import GOOD, Entry, Kind, ending_of


class StepView(View):
    start_ms: int
    seconds: float = Field(description="The first and the last one may be shorter than the others.", examples=[2.0])
    copies: int
    readings: int = Field(description="Copies that were first of their reading.")
    duplicates: int

    @classmethod
    def of(cls, step: Step) -> StepView:
        sums = step.sums
        return cls(
            start_ms=step.start_ms,
            seconds=(step.end_ms - step.start_ms) / 1000,
            copies=sums.copies,
            readings=sums.readings,
            duplicates=sums.duplicates,
        )


class EntryView(View):
    number: int = Field(description="Rises with each entry.")
    kind: Kind
    group: str = Field(description="Empty where it concerns no group.")
    what: str = Field(description="The replica, pod, dependency or group.", examples=["edge-2/sender"])
    text: str = Field(examples=["edge-2/sender fell silent (2 of 3 replicas are sending)"])
    began_ms: int
    ended_ms: int | None = Field(description="Null while it lasts; of a moment, when it happened last.")
    ended: str | None = Field(
        description="How it ended; null while it lasts, and of a moment.", examples=["is back after 2 min 28 s"]
    )
    lasts: bool
    times: int = Field(description="What begins again within 5 minutes of its end goes on in the same entry.")
    is_good: bool = Field(description="Whether it is no reason to worry, such as a pod that joined.")

    @classmethod
    def of(cls, entry: Entry) -> EntryView:
        return cls(
            number=entry.number,
            kind=entry.kind,
            group=entry.group,
            what=entry.what,
            text=entry.text,
            began_ms=entry.began_ms,
            ended_ms=entry.ended_ms,
            ended=ending_of(entry),
            lasts=entry.ended_ms is None,
            times=entry.times,
            is_good=entry.kind in GOOD,
        )


class MinuteView(View):
    start_ms: int
    copies: int
    readings: int
    duplicates: int
    conflicts: int
    missing: int
    complete: bool = Field(description="False where Redis forgot what it had counted in this minute.")

    @classmethod
    def of(cls, start_ms: int, counts: Counts, complete: bool) -> MinuteView:
        figures = group_figures(counts)
        return cls(
            start_ms=start_ms,
            copies=figures.copies,
            readings=figures.readings,
            duplicates=figures.copies - figures.readings,
            conflicts=figures.conflicts,
            missing=figures.missing,
            complete=complete,
        )
