"""What a pod that looks at the whole deployment sees of what happens to it, for the timeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dedup_service.core.overview import GroupOverview, ReplicaOverview
from dedup_service.core.pod_report import Outage
from dedup_service.core.rebuild_progress import progress_of_all
from dedup_service.core.timeline import LASTING, Kind, Sight, Spell, Subject, span
from dedup_service.errors import DependencyKind
from dedup_service.observability.owners import owners_of
from dedup_service.observability.shared_overview import Overview
from dedup_service.ports.pods import PodStatus
from dedup_service.telemetry import lag_ms

NEAR_LIMIT = 0.8
"""Share of Redis' memory."""
LONG_ENOUGH_MS = 2_000
"""An outage that is shorter is a failed attempt that the next one made good."""
SETTLED_MS = 5_000
"""What a pod needs after its start, at most, until it has read what waits in its partitions."""
SAME_AS: Mapping[str, str] = {DependencyKind.REDIS_CONNECTION: DependencyKind.REDIS}
"""Dependencies that fail together."""


REPORTED: frozenset[Kind] = frozenset(("unavailable", "claims-missing"))
"""What the pods report themselves, whether anything is counted or not."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known when a pod looks."""

    now_ms: int
    pods: Sequence[PodStatus]
    partitions: Sequence[str]
    overview: Overview | None
    """None where nothing is counted."""


def sight_of(view: View, lost: Mapping[str, int]) -> Sight:
    """`lost`: pods that have been absent for some time, and since when."""
    seen = _Seen(view)
    groups = view.overview.groups if view.overview is not None else []
    for group in groups:
        seen.add_group(group)
    seen.spells += [*_outages(view), *_rebuild(view), *_memory(view)]
    return Sight(
        now_ms=view.now_ms,
        spells=seen.spells,
        told=LASTING - {"replica-silent"} if view.overview is not None else REPORTED,
        ends_ms=seen.ends_ms,
        pods=[pod.pod for pod in view.pods],
        lost=lost,
        owners={name: pod.pod for name, (pod, _) in owners_of(view.pods).items()},
        replicas={group.group.name: [item.name for item in group.replicas if item.last_seen_ms] for group in groups},
        forgot_ms=(view.overview.figures_since_ms or 0) if view.overview is not None else 0,
    )


@dataclass(slots=True)
class _Seen:
    view: View
    spells: list[Spell] = field(default_factory=list)
    ends_ms: dict[Subject, int] = field(default_factory=dict)

    def add_group(self, item: GroupOverview) -> None:
        for replica in item.replicas:
            self._add_replica(item, replica)
        if self.view.overview is None or not item.replicas:
            return
        name, figures = item.group.name, item.figures
        conflicts = figures["15m"].conflicts
        if conflicts:
            text = f"copies of group {name} differ in content from the one that was published (conflicts)"
            self._lasts("conflicts", name, name, text)
        if item.window_state != "wide":
            kind: Kind = "window-short" if item.window_state == "short" else "window-close"
            apart = span((figures["24h"].spread_p999_ms or 0.0) / 1000)
            text = f"copies of group {name} come up to {apart} apart; the window is {span(item.group.window_ms / 1000)}"
            self._lasts(kind, name, name, text)

    def _lasts(self, kind: Kind, group: str, what: str, text: str) -> None:
        self.spells.append(Spell(kind, what, text, self.view.now_ms, None, group))

    def _add_replica(self, item: GroupOverview, replica: ReplicaOverview) -> None:
        subject: Subject = ("replica-silent", item.group.name, replica.name)
        silent_ms = round(replica.silent_seconds * 1000)
        since_ms = self.view.now_ms - silent_ms
        if replica.state == "live":
            self.ends_ms[subject] = since_ms
        elif silent_ms - item.group.silent_after_ms > _blind_ms(self.view, item.group.silent_after_ms):
            of = f"{item.live} of {item.expected} replica{'s are' if item.expected > 1 else ' is'} sending"
            text = f"{replica.name} fell silent ({of})"
            self.spells.append(Spell("replica-silent", replica.name, text, since_ms, None, item.group.name))


def _blind_ms(view: View, silent_after_ms: int) -> float:
    """How much of the time before now says nothing of who sends: the service itself was behind, or nobody read. Silence
    shows only where all partitions are read up to their ends, by pods that have had time to get there."""
    owners = owners_of(view.pods)
    if not view.partitions or any(name not in owners for name in view.partitions):
        return float("inf")
    youngest_ms = max(pod.report.started_ms for pod, _ in owners.values())
    if view.now_ms - youngest_ms < silent_after_ms + SETTLED_MS:
        return float("inf")
    return max(lag_ms(figures, view.now_ms) for _, figures in owners.values())


def _outages(view: View) -> Iterator[Spell]:
    """One for each dependency: from when the first pod lacked it until the last one had it again."""
    by_name: dict[str, list[Outage]] = {}
    for pod in view.pods:
        for name, outage in pod.report.outages.items():
            by_name.setdefault(SAME_AS.get(name, name), []).append(outage)
    for name, outages in sorted(by_name.items()):
        began_ms = min(min(outage.began_ms for outage in outages), view.now_ms)
        ends_ms = [outage.ended_ms for outage in outages if outage.ended_ms is not None]
        ended_ms = max(began_ms, *ends_ms) if len(ends_ms) == len(outages) else None
        if (view.now_ms if ended_ms is None else ended_ms) - began_ms >= LONG_ENOUGH_MS:
            problem = max(outages, key=lambda outage: outage.began_ms).problem
            of = f" to {len(outages)} of {len(view.pods)} pods" if len(view.pods) > 1 else ""
            yield Spell("unavailable", name, f"{name} became unavailable{of}: {problem}", began_ms, ended_ms)


def _rebuild(view: View) -> Iterator[Spell]:
    """Not at a first start: a Redis that is new has nothing to read back, and looks for a moment as if it had forgotten."""
    progress = progress_of_all(pod.report.rebuild for pod in view.pods)
    has_forgotten = view.overview is None or view.overview.figures_since_ms is not None
    if progress is not None and has_forgotten:
        text = "claims that Redis lacks are read back from the clean stream"
        yield Spell("claims-missing", "Redis", text, min(progress.forgot_ms, view.now_ms))


def _memory(view: View) -> Iterator[Spell]:
    if view.overview is None:
        return
    memory, needed = view.overview.memory, view.overview.projected_bytes
    if memory.limit_bytes and max(memory.used_bytes, needed) >= NEAR_LIMIT * memory.limit_bytes:
        text = "Redis' memory is nearly used up, or would be by the claims of a full window"
        yield Spell("redis-memory", "Redis", text, view.now_ms)
