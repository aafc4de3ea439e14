"""Answers about groups and their replicas."""

from __future__ import annotations

from pydantic import Field

from dedup_service.api.views.base import RateView, View
from dedup_service.core.accounting import GroupFigures, ReplicaFigures
from dedup_service.core.claims import OTHER_REPLICA
from dedup_service.core.flow import Step
from dedup_service.core.groups import Group
from dedup_service.core.overview import GroupOverview, GroupState, ReplicaOverview, ReplicaState, WindowState


class GroupFiguresView(View):
    readings: int
    copies: int
    by_replicas: dict[int, int] = Field(description="Readings by the number of replicas that delivered them.")
    sole_source_share: float | None = Field(description="Share of readings that a single replica delivered.")
    conflicts: int
    late: int
    missing: int = Field(description="Sequence numbers that no replica delivered.")
    spread_p999_ms: float | None = Field(description="Between the first copy of a reading and one of another replica.")
    complete: bool = Field(description="False where Redis forgot a part of what was counted; then shares are null.")

    @classmethod
    def of(cls, figures: dict[str, GroupFigures]) -> dict[str, GroupFiguresView]:
        return {period: cls.model_validate(item) for period, item in figures.items()}


class GroupView(View):
    group: str = Field(examples=["presses"])
    state: GroupState
    live_replicas: int
    expected_replicas: int
    mode: str
    on_conflict: str
    content_mode: str
    format: str
    devices: list[str]
    sources: list[str]
    window_seconds: float
    window_state: WindowState = Field(
        description="The share of the window that the spread of copies takes up: `wide` below half of it, `close` above, "
        "`short` from 90 % on."
    )
    readings_per_second: float = Field(description="Over the 15 full minutes before, by when they were enqueued.")
    rate: RateView | None = Field(description="What all pods finish at present; null before the first seconds are over.")
    figures: dict[str, GroupFiguresView] = Field(description="By period (1m, 15m, 24h), each at least this long.")

    @classmethod
    def of(cls, item: GroupOverview, flow: Step | None) -> GroupView:
        group: Group = item.group
        return cls(
            group=group.name,
            state=item.state,
            live_replicas=item.live,
            expected_replicas=item.expected,
            mode=group.mode,
            on_conflict=group.on_conflict,
            content_mode=group.output.content_mode,
            format=", ".join(group.formats),
            devices=list(group.devices),
            sources=list(group.sources),
            window_seconds=group.window_ms / 1000,
            window_state=item.window_state,
            readings_per_second=item.readings_per_second,
            rate=RateView.of(flow),
            figures=GroupFiguresView.of(item.figures),
        )


class ReplicaFiguresView(View):
    copies: int
    first: int = Field(description="Copies that were the first of their reading.")
    matched: int = Field(description="Copies of readings that another replica had delivered before.")
    self_duplicates: int
    of_forgotten: int = Field(description="Copies of readings whose first copy was counted before Redis forgot.")
    sole: int = Field(description="Readings that only this replica delivered.")
    conflicts: int
    late: int
    coverage: float | None = Field(description="Share of the group's readings that it delivered.")
    first_share: float | None
    lag_p50_ms: float | None = Field(description="How long after the winner its duplicates were enqueued.")
    lag_p99_ms: float | None
    complete: bool = Field(description="False where Redis forgot a part of what was counted; then shares are null.")

    @classmethod
    def of(cls, figures: dict[str, ReplicaFigures]) -> dict[str, ReplicaFiguresView]:
        return {period: cls.model_validate(item) for period, item in figures.items()}


class ReplicaView(View):
    group: str
    replica: str = Field(examples=["edge-1/sender"])
    state: ReplicaState
    last_seen_ms: int = Field(description="When the replica's newest copy was enqueued in the input hub.")
    silent_seconds: float
    counted_together: bool = Field(
        description="Whether these are figures of all replicas beyond the first 31 of the group, which have none of their "
        "own: a copy that one of them delivers after another one of them counts as a repetition."
    )
    figures: dict[str, ReplicaFiguresView]

    @classmethod
    def of(cls, item: ReplicaOverview) -> ReplicaView:
        return cls(
            group=item.group,
            replica=item.name,
            state=item.state,
            last_seen_ms=item.last_seen_ms,
            silent_seconds=item.silent_seconds,
            counted_together=item.number == OTHER_REPLICA,
            figures=ReplicaFiguresView.of(item.figures),
        )
