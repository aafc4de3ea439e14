"""Answers about the deployment as a whole, its pods and its partitions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dedup_service.api.views.base import RateView, View
from dedup_service.core.rebuild_progress import RebuildProgress
from dedup_service.observability.shared_overview import Overview
from dedup_service.ports.pods import PodStatus
from dedup_service.telemetry import Count


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


class PartitionView(View):
    partition: str
    owner: str | None = Field(description="The pod that works on it; null while it changes hands.")
    sequence_number: int = Field(description="Number of the last finished event; -1 while there is none.")
    enqueued_ms: int = Field(description="When that event was enqueued.")
    lag_seconds: float
    oldest_event_seconds: float = Field(
        description="Age of the oldest event received since the pod took the partition, which the hub still kept."
    )


def memory_view(overview: Overview) -> MemoryView:
    memory = overview.memory
    return MemoryView(
        used_bytes=memory.used_bytes,
        limit_bytes=memory.limit_bytes,
        projected_claims_bytes=overview.projected_bytes,
        evicted_keys=memory.evicted_keys,
    )
