"""Answers of the REST API. Times are milliseconds since the epoch; shares are between 0 and 1, or null while unknown."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from dedup_service.core.accounting import Counts, Gap, GroupFigures, ReplicaFigures, group_figures
from dedup_service.core.claims import OTHER_REPLICA
from dedup_service.core.flow import Step
from dedup_service.core.groups import Group
from dedup_service.core.overview import GroupOverview, GroupState, ReplicaOverview, ReplicaState, WindowState
from dedup_service.core.rebuild_progress import RebuildProgress
from dedup_service.core.timeline import GOOD, Entry, Kind, ending_of
from dedup_service.observability.fleet import SourceOverview, coverage_by_replica
from dedup_service.observability.shared_overview import Overview
from dedup_service.ports import PodStatus
from dedup_service.telemetry import Count

Item = TypeVar("Item")


class View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Health(View):
    status: str = Field(examples=["ready"])
    detail: str = ""


class Problem(View):
    detail: str = Field(examples=["Redis: no answer (TimeoutError)"])


class Page(View, Generic[Item]):
    items: list[Item]
    next: str | None = Field(None, description="Pass it as `after` to get the next page; null on the last one.")


class Totals(View):
    """Totals of all pods since the first one started. A killed pod loses the counts of its last second; the figures in
    /v1/groups are exact."""

    input_events: int
    copies: int
    winners: int
    duplicates: int
    conflicts: int
    replays: int
    in_doubt_found: int = Field(description="Copies in doubt that were found in the clean stream.")
    in_doubt_published: int = Field(description="Copies in doubt that were not there, and were published.")
    in_doubt_expired: int = Field(description="Copies in doubt, published because the part where they might be is gone.")
    clean_events: int
    clean_readings: int
    dead_lettered: int
    ignored_events: int
    redis_forgot: int = Field(description="Times that a pod found a shard of Redis without its claims.")
    claims_restored: int = Field(description="Claims written again from the clean stream.")
    not_restored: int = Field(description="Clean events whose readings could not be told then.")
    clean_stream_expired: int = Field(description="Times that a part of the window was no longer in the clean hub then.")

    @classmethod
    def of(cls, totals: dict[str, int]) -> Totals:
        def count(what: Count, label: str = "") -> int:
            """Counters are named `COUNTER|label`; without `label`, those of all labels are added up."""
            prefix = f"{what.name}|{label}"
            return sum(n for name, n in totals.items() if (name == prefix if label else name.startswith(prefix)))

        return cls(
            input_events=count(Count.INPUT_EVENTS),
            copies=count(Count.COPIES),
            winners=count(Count.WINNERS),
            duplicates=count(Count.DUPLICATES),
            conflicts=count(Count.CONFLICTS),
            replays=count(Count.REPLAYS),
            in_doubt_found=count(Count.IN_DOUBT, "found"),
            in_doubt_published=count(Count.IN_DOUBT, "published"),
            in_doubt_expired=count(Count.IN_DOUBT, "expired"),
            clean_events=count(Count.CLEAN_EVENTS),
            clean_readings=count(Count.CLEAN_READINGS),
            dead_lettered=count(Count.DEAD_LETTERED),
            ignored_events=count(Count.IGNORED),
            redis_forgot=count(Count.FORGOTTEN),
            claims_restored=count(Count.RESTORED),
            not_restored=count(Count.NOT_RESTORED),
            clean_stream_expired=count(Count.CLEAN_EXPIRED),
        )


class PodView(View):
    pod: str
    version: str
    started_ms: int
    partitions: list[str]
    paused: dict[str, str] = Field(description="Dependencies that are unavailable to this pod, and why.")

    @classmethod
    def of(cls, item: PodStatus) -> PodView:
        report = item.report
        return cls(
            pod=item.pod,
            version=report.version,
            started_ms=report.started_ms,
            partitions=sorted(report.partitions),
            paused=report.paused,
        )


class MemoryView(View):
    used_bytes: int
    limit_bytes: int = Field(description="maxmemory, or the machine's memory; 0: unknown.")
    projected_claims_bytes: int = Field(description="Claims of a full window at the present rates.")
    evicted_keys: int


class RebuildView(View):
    """While the claims that Redis lacks, because it forgot them or is new, are read back from the clean stream."""

    forgot_ms: int = Field(description="Since when Redis has lacked them.")
    share: float = Field(description="How much of the window is read back.", examples=[0.63])
    seconds_left: float | None = Field(description="Until all of it is read back, as estimated.", examples=[41.0])
    live_data: Literal["paused", "goes-on"] = Field(
        description="`paused` until the most recent minutes are read back; afterwards only older copies, and those without "
        "a time, wait."
    )

    @classmethod
    def of(cls, progress: RebuildProgress | None) -> RebuildView | None:
        if progress is None:
            return None
        return cls(
            forgot_ms=progress.forgot_ms,
            share=progress.share,
            seconds_left=progress.seconds_left,
            live_data="goes-on" if progress.is_ready else "paused",
        )


class RateView(View):
    """How much was finished in the last seconds."""

    from_ms: int
    to_ms: int
    seconds: float = Field(
        description="Between the two; the last 10 s, or less while the first copy came only then.", examples=[10.0]
    )
    copies_per_second: float = Field(examples=[390.0])
    readings_per_second: float = Field(description="Copies that were first of their reading.", examples=[130.0])
    duplicates_per_second: float

    @classmethod
    def of(cls, step: Step | None) -> RateView | None:
        if step is None:
            return None
        seconds, sums = (step.end_ms - step.start_ms) / 1000, step.sums
        return cls(
            from_ms=step.start_ms,
            to_ms=step.end_ms,
            seconds=seconds,
            copies_per_second=sums.copies / seconds,
            readings_per_second=sums.readings / seconds,
            duplicates_per_second=sums.duplicates / seconds,
        )


class Stats(View):
    version: str
    now_ms: int
    mode: str = Field(examples=["drop"])
    totals: Totals
    rate: RateView | None = Field(description="What all pods finish at present; null before the first seconds are over.")
    pods: list[PodView]
    paused: dict[str, str] = Field(description="Dependencies that are unavailable to any pod, and why.")
    rebuild: RebuildView | None = Field(description="As the pod sees it that is least far; null while Redis lacks nothing.")
    redis: MemoryView
    figures_since_ms: int | None = Field(
        description="When Redis forgot what it had counted before; null when it has forgotten nothing of the last 24 h."
    )


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


class PartitionView(View):
    partition: str
    owner: str | None = Field(description="The pod that works on it; null while it changes hands.")
    sequence_number: int = Field(description="Number of the last finished event; -1 while there is none.")
    enqueued_ms: int = Field(description="When that event was enqueued.")
    lag_seconds: float
    oldest_event_seconds: float = Field(
        description="Age of the oldest event received since the pod took the partition, which the hub still kept."
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


class ConflictView(View):
    group: str
    source: str
    id: str
    replica: str
    enqueued_ms: int
    content: str = Field(description="Hash of what copies must agree on.")
    bytes: int
    winner_replicas: list[str] = Field(description="Replicas that had delivered the reading by then.")
    winner_enqueued_ms: int
    winner_content: str


class DeadLetterView(View):
    group: str
    reason: str
    replica: str
    enqueued_ms: int
    origin: str = Field(description="Incarnation/partition/sequence number of the input event.")
    readings: int
    bytes: int


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


def conflict_view(example: dict[str, Any], names: dict[int, str]) -> ConflictView:
    return ConflictView(**{**example, "winner_replicas": names_of(example["winner_replicas"], names)})


def names_of(mask: int, names: dict[int, str]) -> list[str]:
    return [names.get(n, "other") for n in range(mask.bit_length()) if mask >> n & 1]


def memory_view(overview: Overview) -> MemoryView:
    memory = overview.memory
    return MemoryView(
        used_bytes=memory.used_bytes,
        limit_bytes=memory.limit_bytes,
        projected_claims_bytes=overview.projected_bytes,
        evicted_keys=memory.evicted_keys,
    )
