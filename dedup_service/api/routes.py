"""/v1: what the deployment does. Every pod gives the same answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import starmap
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Query, Response

from dedup_service import __version__
from dedup_service.api import pieces, places
from dedup_service.api.keys import KeyView
from dedup_service.api.views.base import Page, Problem, RateView
from dedup_service.api.views.deployment import PartitionView, PodView, RebuildView, Stats, Totals, memory_view
from dedup_service.api.views.examples import ConflictView, DeadLetterView, conflict_view
from dedup_service.api.views.groups import GroupView, ReplicaView
from dedup_service.api.views.history import EntryView, MinuteView, StepView
from dedup_service.api.views.sources import GapView, SourcesPage, SourceView, TogetherView
from dedup_service.core.accounting import Gap, SourceHistory
from dedup_service.core.flow import rate_over, steps_of
from dedup_service.core.groups import Group
from dedup_service.core.overview import ReplicaState
from dedup_service.core.rebuild_progress import progress_of_all
from dedup_service.core.timeline import MAX_MS, Entry
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.owners import owners_of
from dedup_service.ports.accounting import SourceSeen
from dedup_service.ports.pods import PodStatus
from dedup_service.telemetry import CONFLICT, DEAD_LETTER, lag_seconds

T = TypeVar("T")
MAX_LIMIT = 500
TEXT = {"max_length": 2048}

GroupName = Annotated[str | None, Query(max_length=64, description="Only this group.", examples=["presses"])]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most this many items.")]
After = Annotated[str | None, Query(max_length=2400, description="`next` of the previous page.")]

RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No valid token."},
    503: {"model": Problem, "description": "Redis is unavailable, the service has not started, or nothing is counted."},
}
UNKNOWN_GROUP: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such group."}}


def create_router(fleet: Fleet) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=RESPONSES)

    def chosen(group: str | None) -> Sequence[Group]:
        if not fleet.groups:
            raise HTTPException(503, "waiting for the hubs and Redis")
        if group is None:
            return fleet.groups
        only = fleet.group(group)
        if only is None:
            raise HTTPException(404, "no such group; /v1/groups lists them")
        return [only]

    def counted(group: str | None) -> Sequence[Group]:
        if not fleet.is_counting:
            raise HTTPException(503, "nothing is counted: DEDUP_ACCOUNTING is off")
        return chosen(group)

    @router.get("/stats")
    async def get_stats() -> Stats:
        """Totals, pods and what is unavailable."""
        groups = chosen(None)
        pods, overview, flow = await fleet.pods(), await fleet.overview(), await fleet.flow()
        return Stats(
            version=__version__,
            now_ms=overview.now_ms,
            mode="/".join(dict.fromkeys(group.mode for group in groups)),
            totals=Totals.of(await fleet.totals()),
            rate=RateView.of(rate_over(flow.by_group.values(), flow.now_ms)),
            pods=[PodView.of(pod) for pod in pods],
            paused={name: problem for pod in pods for name, problem in pod.report.paused.items()},
            rebuild=RebuildView.of(progress_of_all(pod.report.rebuild for pod in pods)),
            redis=memory_view(overview),
            figures_since_ms=overview.figures_since_ms,
        )

    @router.get("/groups", response_model=list[GroupView])
    async def get_groups() -> Response:
        """How much redundancy each group has left."""
        counted(None)
        overview, flow = await fleet.overview(), await fleet.flow()
        return await pieces.array(
            GroupView.of(item, rate_over([flow.by_group[item.group.name]], flow.now_ms)) for item in overview.groups
        )

    @router.get("/replicas", response_model=list[ReplicaView], responses=UNKNOWN_GROUP)
    async def get_replicas(
        group: GroupName = None, state: Annotated[ReplicaState | None, Query(description="Only these.")] = None
    ) -> Response:
        """Which replicas send, what share of the readings they deliver, how often first, and how far behind."""
        names = {item.name for item in counted(group)}
        replicas = [r for item in (await fleet.overview()).groups if item.group.name in names for r in item.replicas]
        return await pieces.array(ReplicaView.of(replica) for replica in replicas if state in (None, replica.state))

    @router.get("/sources", responses=UNKNOWN_GROUP)
    async def get_sources(
        group: GroupName = None,
        contains: Annotated[str, Query(description="Only sources with this text in them.", max_length=2048)] = "",
        limit: Limit = 100,
        after: After = None,
    ) -> SourcesPage:
        """Figures of each source over 24 h, by group and name."""
        groups, page = counted(group), list[tuple[str, SourceSeen]]()
        of, start = places.source_after(after)
        for name in sorted(item.name for item in groups if item.name >= of):
            missing = limit + 1 - len(page)
            if missing:
                found = await fleet.sources_from(name, start if name == of else "", missing, contains)
                page += [(name, seen) for seen in found]
        following = places.of_source(*page[limit - 1]) if len(page) > limit else None
        views = []
        for name in dict.fromkeys(name for name, _ in page[:limit]):
            names = await fleet.replica_names(name)
            overviews = await fleet.source_overviews(name, [seen for of, seen in page[:limit] if of == name])
            made = (SourceView.of(name, overview, names) for overview in overviews)
            views += [view async for view in pieces.paused(made)]
        together = [TogetherView.of(item.name, await fleet.counted_together(item.name)) for item in groups]
        return SourcesPage(items=views, next=following, counted_together=[item for item in together if item.copies])

    @router.get("/partitions")
    async def get_partitions() -> list[PartitionView]:
        """Which pod works on which partition, and how far it is behind."""
        chosen(None)
        return partition_views(fleet.partitions_of(), await fleet.pods(), time.time_ns() // 1_000_000)

    @router.get("/keys", responses={404: {"model": Problem, "description": "Nothing is remembered about it."}})
    async def get_key(
        source: Annotated[str, Query(min_length=1, max_length=2048, examples=["opc.tcp://plant/press-1/temperature"])],
        reading_id: Annotated[str, Query(alias="id", min_length=1, max_length=256, examples=["0f3c…"])],
    ) -> list[KeyView]:
        """What became of one reading: how many copies came, of which replicas, which of them won, whether they agree, and
        how long that is remembered."""
        chosen(None)
        claims = await fleet.find(source, reading_id)
        if not claims:
            raise HTTPException(404, "nothing is remembered about this reading: it never arrived, or its window is over")
        return [
            KeyView.of(
                group,
                claim,
                await fleet.fate(group, source, reading_id, claim),
                await fleet.replica_names(group.name),
            )
            for group, claim in claims
        ]

    @router.get("/conflicts", responses=UNKNOWN_GROUP)
    async def get_conflicts(group: GroupName = None, limit: Limit = 100) -> list[ConflictView]:
        """Recent copies whose content differs from the winner's, newest first: examples; /v1/groups has the number."""
        groups = {item.name for item in chosen(group)}
        examples = [example for example in await fleet.examples(CONFLICT) if example["group"] in groups][:limit]
        names = {name: await fleet.replica_names(name) for name in {example["group"] for example in examples}}
        return [conflict_view(example, names[example["group"]]) for example in examples]

    @router.get("/dead-letters", responses=UNKNOWN_GROUP)
    async def get_dead_letters(group: GroupName = None, limit: Limit = 100) -> list[DeadLetterView]:
        """Recent dead letters, newest first: examples; /v1/stats has the number."""
        names = {item.name for item in chosen(group)}
        examples = [example for example in await fleet.examples(DEAD_LETTER) if group is None or example["group"] in names]
        return [DeadLetterView(**example) for example in examples[:limit]]

    @router.get("/gaps", responses=UNKNOWN_GROUP)
    async def get_gaps(
        group: GroupName = None,
        source: Annotated[str | None, Query(max_length=2048, description="Only of this source.")] = None,
        limit: Limit = 100,
        after: After = None,
    ) -> Page[GapView]:
        """Sequence numbers that no replica has delivered yet: the readings that were really lost, unless `found_ms` is a
        moment ago, and a copy of a slower replica is still under way."""
        groups = {item.name for item in counted(group)}
        page = list[GapView]()
        at = places.gap_after(after)
        async for name, of, gap in gaps_from(fleet, sorted(groups), at, source):
            page.append(GapView.of(name, of, gap))
            if len(page) > limit:
                break
        following = places.of_gap(page[limit - 1]) if len(page) > limit else None
        return Page(items=page[:limit], next=following)

    @router.get("/timeline", responses=UNKNOWN_GROUP)
    async def get_timeline(group: GroupName = None, limit: Limit = 100, after: After = None) -> Page[EntryView]:
        """What happened, and when, newest first: replicas that fell silent or were new, pods that joined, left or were lost,
        partitions that changed hands, what was unavailable, what Redis forgot, and conflicts. The latest 200 are kept."""
        if group is not None:
            chosen(group)
        entries = [entry for entry in (await fleet.timeline()).entries if group in (None, entry.group)]
        page, following = paged(entries, newest_first, limit, after)
        return Page(items=[EntryView.of(entry) for entry in page], next=following)

    @router.get("/flow", response_model=dict[str, list[StepView]], responses=UNKNOWN_GROUP)
    async def get_flow(group: GroupName = None) -> Response:
        """What was finished in the last hour, or since the first copy, for each group: in at most 181 steps, of 2 s at first
        and of 20 s at last. Counted by when it was finished, and without the last second of a pod that was killed;
        /v1/history counts exactly, by when it was enqueued."""
        names = [item.name for item in chosen(group)]
        flow = await fleet.flow()

        async def of_groups() -> AsyncIterator[tuple[str, Iterable[StepView]]]:
            for name in names:
                yield name, map(StepView.of, steps_of(flow.by_group[name], flow.now_ms))

        return await pieces.arrays(of_groups())

    @router.get("/history", response_model=dict[str, list[MinuteView]], responses=UNKNOWN_GROUP)
    async def get_history(group: GroupName = None) -> Response:
        """The last hour, minute by minute, for each group."""
        names = [item.name for item in counted(group)]

        async def of_groups() -> AsyncIterator[tuple[str, Iterable[MinuteView]]]:
            for name in names:
                yield name, starmap(MinuteView.of, await fleet.history(name))

        return await pieces.arrays(of_groups())

    return router


async def gaps_from(
    fleet: Fleet, groups: Sequence[str], at: places.GapPlace, source: str | None
) -> AsyncIterator[tuple[str, str, Gap]]:
    """Group, source and gap, in this order, behind a place; only of one source, unless that is None. Only what is taken is
    read."""
    for group in groups:
        if group < at.group:
            continue
        async for name, history in _histories(fleet, group, at.source if group == at.group else "", source):
            for gap in sorted(history.gaps, key=lambda gap: (gap.epoch, gap.first)):
                if (group, name, gap.epoch, gap.first) > (at.group, at.source, at.epoch, at.first):
                    yield group, name, gap


async def _histories(fleet: Fleet, group: str, start: str, source: str | None) -> AsyncIterator[tuple[str, SourceHistory]]:
    if source is None:
        async for item in fleet.gaps_from(group, start):
            yield item
    elif source >= start:
        history = await fleet.gaps_of(group, source)
        if history is not None:
            yield source, history


def paged(items: list[T], key: Callable[[T], str], limit: int, after: str | None) -> tuple[list[T], str | None]:
    """A page by key, so that items which appear or disappear meanwhile do not shift the others."""
    ordered = sorted(items, key=key)
    rest = [item for item in ordered if after is None or key(item) > after]
    return rest[:limit], key(rest[limit - 1]) if len(rest) > limit else None


def newest_first(entry: Entry) -> str:
    """A key that orders entries by when they began."""
    return f"{MAX_MS - entry.began_ms:016} {MAX_MS - entry.number:016}"


def partition_views(partitions: Sequence[str], pods: list[PodStatus], now_ms: int) -> list[PartitionView]:
    """All that are known, and their owners."""
    views = {
        name: PartitionView(
            partition=name, owner=None, sequence_number=-1, enqueued_ms=0, lag_seconds=0, oldest_event_seconds=0
        )
        for name in partitions
    }
    for name, (pod, figures) in owners_of(pods).items():
        views[name] = PartitionView(
            partition=name,
            owner=pod.pod,
            sequence_number=figures.sequence_number,
            enqueued_ms=figures.enqueued_ms,
            lag_seconds=lag_seconds(figures, now_ms),
            oldest_event_seconds=figures.oldest_ms / 1000,
        )
    return list(views.values())
