"""What any pod can say about the whole deployment, from what all pods count and report in Redis."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dedup_service.core.accounting import (
    HOUR_MS,
    KEEP_HOURS,
    MINUTE_MS,
    Counts,
    GroupFigures,
    SourceHistory,
    figures_of_replicas,
    group_figures,
)
from dedup_service.core.claims import OTHER_REPLICA
from dedup_service.core.flow import Slots
from dedup_service.core.groups import Group
from dedup_service.core.overview import (
    TOTALS,
    day_start_ms,
    figures_since_ms,
    group_overview,
    is_complete,
    periods,
    projected_bytes,
)
from dedup_service.core.timeline import Timeline
from dedup_service.core.unknown_formats import by_group
from dedup_service.observability import roll_call, shared_overview
from dedup_service.observability.flow import FlowReader
from dedup_service.observability.roll_call import RollCall, roll_call_of
from dedup_service.observability.shared_overview import Overview
from dedup_service.observability.single_flight import SingleFlight
from dedup_service.ports.accounting import Ledger, SourceSeen, StoredClaim
from dedup_service.ports.pods import PodBoard, PodStatus, StoredTimeline, TimelineStore
from dedup_service.telemetry import CONFLICT

CACHE_SECONDS = 1.0
"""Overviews are made by one pod for all (shared_overview.py) and cached, and what the dashboard shows is asked once for all
who ask at the same moment, so that many pods and viewers cost Redis no more than one."""
HISTORY_MINUTES = 60
HISTORIES_AT_ONCE = 32
"""Each may hold some hundred gaps."""


@dataclass(frozen=True, slots=True)
class SourceOverview:
    seen: SourceSeen
    counts: Counts
    figures: GroupFigures
    missing: int
    complete: bool = True
    """False where Redis has forgotten a part of these counts."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What was finished in the last hour."""

    now_ms: int
    by_group: dict[str, Slots]


@dataclass(frozen=True, slots=True)
class Fate:
    """What is known of a reading beside its claim."""

    conflicts: list[dict[str, Any]]
    """Examples of copies whose content differs from the winner's."""
    since: Counts | None
    """What was counted of its source since the hour of its winner; None where that is not counted or not kept."""


@dataclass(slots=True)
class Fleet:
    """All methods raise UnavailableError while Redis is unavailable."""

    ledger: Ledger
    board: PodBoard
    timeline_store: TimelineStore
    groups: Sequence[Group] = ()
    partitions_of: Callable[[], Sequence[str]] = tuple
    """Names of the known partitions of all input hubs."""
    is_counting: bool = True
    """Whether the redundancy is counted at all."""
    namespace: str = ""
    """Of the deployment: the prefix of its keys in Redis."""
    monotonic: Callable[[], float] = time.monotonic
    _overview: Overview | None = None
    _overview_at: float = field(default=float("-inf"))
    _flights: SingleFlight = field(default_factory=SingleFlight)
    _timeline: StoredTimeline | None = None
    _flow: Flow | None = None
    _flow_reader: FlowReader = field(init=False)

    def __post_init__(self) -> None:
        self._flow_reader = FlowReader(self.board)

    def group(self, name: str) -> Group | None:
        return next((group for group in self.groups if group.name == name), None)

    async def overview(self) -> Overview:
        if self._overview is None or self.monotonic() - self._overview_at >= CACHE_SECONDS:
            return await self._flights.run("overview", self._look)
        return self._overview

    async def _look(self) -> Overview:
        started = self.monotonic()
        self._overview = await shared_overview.share_of(self.board, self.groups).current(lambda _: self._make())
        self._overview_at = started
        return self._overview

    async def _make(self) -> Overview:
        now_ms = await self.ledger.now_ms()
        minutes, hours = periods(now_ms)
        forgot_ms = await self.ledger.forgot_ms()
        groups = []
        for group in self.groups:
            by_minute, by_hour = await self.ledger.minutes(group.name, minutes), await self.ledger.hours(group.name, hours)
            replicas = await self.ledger.replicas(group.name)
            groups.append(group_overview(group, by_minute, by_hour, replicas, now_ms, forgot_ms))
        since_ms = figures_since_ms(day_start_ms(now_ms), forgot_ms)
        return Overview(now_ms, groups, await self.board.memory(), projected_bytes(groups), since_ms)

    async def figures_since_ms(self, hours: int) -> int | None:
        """When Redis forgot what it had counted before, within the last hours; None if it did not."""
        now_ms = await self.ledger.now_ms()
        return figures_since_ms(day_start_ms(now_ms, hours), await self.ledger.forgot_ms())

    async def history(self, group: str) -> list[tuple[int, Counts, bool]]:
        """(start of the minute in ms, counts, whether they are complete) for the last hour, without the current minute."""
        return await self._flights.run(("history", group), partial(self._history, group))

    async def _history(self, group: str) -> list[tuple[int, Counts, bool]]:
        last = await self.ledger.now_ms() // MINUTE_MS
        numbers = list(range(last - HISTORY_MINUTES, last))
        minutes = await self.ledger.minutes(group, numbers, TOTALS)
        starts_ms, forgot_ms = [number * MINUTE_MS for number in numbers], await self.ledger.forgot_ms()
        return [(at, counts, is_complete(at, forgot_ms)) for at, counts in zip(starts_ms, minutes, strict=True)]

    async def flow(self) -> Flow:
        """As of the overview."""
        now_ms = (await self.overview()).now_ms
        if self._flow is None or self._flow.now_ms != now_ms:
            self._flow = await self._flights.run(("flow", now_ms), partial(self._look_at_flow, now_ms))
        return self._flow

    async def _look_at_flow(self, now_ms: int) -> Flow:
        return Flow(now_ms, {group.name: await self._flow_reader.slots(group.name, now_ms) for group in self.groups})

    async def timeline(self) -> Timeline:
        return (await self._flights.run("timeline", self._load_timeline)).timeline or Timeline()

    async def _load_timeline(self) -> StoredTimeline:
        self._timeline = await self.timeline_store.load(self._timeline)
        return self._timeline

    async def sources(self, group: str, hours: int = 24) -> list[SourceSeen]:
        return await self._flights.run(("sources", group, hours), partial(self._sources, group, hours))

    async def _sources(self, group: str, hours: int) -> list[SourceSeen]:
        oldest = await self.ledger.now_ms() - hours * HOUR_MS
        return [item for item in await self.ledger.sources(group) if item.processed_ms >= oldest]

    async def sources_from(self, group: str, start: str, limit: int, contains: str = "") -> list[SourceSeen]:
        """By name, from `start` on; at most `limit`."""
        ask = partial(self.ledger.sources, group, start, limit, contains)
        return await self._flights.run(("sources", group, start, limit, contains), ask)

    async def counted_together(self, group: str, hours: int = 24) -> Counts:
        """Counts of the sources beyond the limit."""
        hour = await self.ledger.now_ms() // HOUR_MS
        return await self.ledger.counted_together(group, range(hour - hours, hour + 1))

    async def gaps_from(self, group: str, start: str) -> AsyncIterator[tuple[str, SourceHistory]]:
        """Sources with missing numbers by name, from `start` on."""
        while True:
            ask = partial(self.ledger.gaps, group, start, HISTORIES_AT_ONCE)
            histories = await self._flights.run(("gaps", group, start), ask)
            for item in histories:
                yield item
            if len(histories) < HISTORIES_AT_ONCE:
                return
            start = next_name(histories[-1][0])

    async def gaps_of(self, group: str, source: str) -> SourceHistory | None:
        return (await self.ledger.histories(group, [source])).get(source)

    async def source_overviews(self, group: str, sources: Sequence[SourceSeen], hours: int = 24) -> list[SourceOverview]:
        hour = await self.ledger.now_ms() // HOUR_MS
        complete = is_complete((hour - hours) * HOUR_MS, await self.ledger.forgot_ms())
        overviews = []
        for place in range(0, len(sources), HISTORIES_AT_ONCE):
            part = sources[place : place + HISTORIES_AT_ONCE]
            names = [item.source for item in part]
            histories = await self.ledger.histories(group, names)
            for seen, counts in zip(
                part, await self.ledger.counts_of(group, names, range(hour - hours, hour + 1)), strict=True
            ):
                missing = histories[seen.source].missing if seen.source in histories else 0
                figures = group_figures(counts, complete=complete)
                overviews.append(SourceOverview(seen, counts, figures, missing, complete))
        return overviews

    async def replica_names(self, group: str) -> dict[int, str]:
        """Of those that have a number of their own."""
        replicas = await self.ledger.replicas(group)
        return {replica.number: replica.name for replica in replicas if replica.number != OTHER_REPLICA}

    async def find(self, source: str, reading_id: str) -> list[tuple[Group, StoredClaim]]:
        claims = [(group, await self.ledger.find(group.claim_scope, source, reading_id)) for group in self.groups]
        return [(group, claim) for group, claim in claims if claim is not None]

    async def fate(self, group: Group, source: str, reading_id: str, stored: StoredClaim) -> Fate:
        """What else is counted or kept that concerns a claimed reading."""
        conflicts = [
            example
            for example in await self.examples(CONFLICT)
            if (example.get("group"), example.get("source"), example.get("id")) == (group.name, source, reading_id)
        ]
        if not self.is_counting:
            return Fate(conflicts, None)
        first, last = stored.claim.enqueued_ms // HOUR_MS, await self.ledger.now_ms() // HOUR_MS
        forgot_ms = await self.ledger.forgot_ms()
        if last - first >= KEEP_HOURS or not is_complete(first * HOUR_MS, forgot_ms):
            return Fate(conflicts, None)
        return Fate(conflicts, await self.ledger.source_counts(group.name, source, range(first, last + 1)))

    async def pods(self) -> list[PodStatus]:
        return await self._flights.run("pods", self.board.pods)

    async def roll_call(self) -> RollCall:
        """What this pod needs to know of all others."""
        return await roll_call.share_of(self.board).current(self._call_roll)

    async def _call_roll(self, before: RollCall | None) -> RollCall:
        return roll_call_of(await self.pods(), self.partitions_of(), before)

    async def modes(self) -> dict[str, str]:
        """By group, the mode in which pods run now, such as `observe`, or `drop/observe` where they differ. Whoever asks may
        be configured otherwise."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for pod in await self.pods():
            for group, mode in pod.report.modes.items():
                found[group].add(mode)
        return {group: "/".join(sorted(modes)) for group, modes in found.items()}

    async def totals(self) -> dict[str, int]:
        return await self._flights.run("totals", self.board.totals)

    async def recognised(self, hours: int) -> dict[str, Counter[str]]:
        """For each group, how many events without a key there were, by the shape that they seem to have."""
        hour = await self.ledger.now_ms() // HOUR_MS
        counts = await self.board.recognised(range(hour - hours, hour + 1))
        return by_group(counts, [group.name for group in self.groups])

    async def examples(self, kind: str) -> list[dict[str, Any]]:
        return await self.board.examples(kind)


def next_name(name: str) -> str:
    """The first one behind this name."""
    return name + "\0"


def coverage_by_replica(counts: Counts, names: dict[int, str], *, complete: bool = True) -> dict[str, float | None]:
    """The share of one source's readings that each replica delivered; None where it is not known."""
    figures = figures_of_replicas(counts, names)
    return {name: (figures[number].coverage or 0.0) if complete else None for number, name in names.items()}
