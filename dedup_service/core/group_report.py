"""What is known of a group: which formats its dead letters seem to have, the traps its sources are in, and each source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dedup_service.core.segments import differing_in_one_segment
from dedup_service.core.single_use import made_anew, told
from dedup_service.core.source_report import FEW_READINGS, Lack, SourceReport
from dedup_service.core.traps import Trap, TrapKind
from wire.formats.recognise import SHAPES

MAX_EXAMPLES = 3
REASONS = {
    Lack.ONE_READING: "only one reading so far, in which nothing can be compared",
    Lack.ONE_SENDER: "only one replica sends it, so there is no copy to compare with",
    Lack.FEW_READINGS: f"fewer than {FEW_READINGS} readings so far, or hardly any of a second replica; look again later",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """Whose figures they are."""

    namespace: str
    mode: str | None
    """In which its pods run now; several are joined by `/`. None when none runs that says so."""
    configured_mode: str
    """As this command is set."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """Dead letters of `no-key` that look like a format."""

    looks_like: str
    messages: int
    format: str | None
    """What to set as the group's `format`, where that helps."""
    remedy: str


@dataclass(frozen=True, slots=True)
class TrapReport:
    kind: TrapKind
    sources: int
    replicas: tuple[str, ...]
    """Those that it is about; empty for all."""
    example: str
    """One of the sources."""
    text: str
    """What was seen at the example, and what to do."""


@dataclass(frozen=True, slots=True)
class UndecidedReport:
    reason: Lack
    sources: int
    examples: list[str]
    """Some of the sources."""
    text: str


@dataclass(frozen=True, slots=True)
class GroupReport:
    deployment: Deployment
    recognised: list[Recognised]
    traps: list[TrapReport]
    """Those of most sources first."""
    undecided: list[UndecidedReport]
    """Of which too little is known to say whether they can be deduplicated; those of most sources first."""
    sources: list[SourceReport]
    figures_since_ms: int | None = None
    """When Redis forgot what it had counted before, within the time that is reported."""


def group_report(
    sources: Sequence[SourceReport],
    by_shape: Mapping[str, int],
    deployment: Deployment,
    figures_since_ms: int | None = None,
) -> GroupReport:
    found = _with_single_use(_with_one_segment(sources))
    recognised = [
        Recognised(SHAPES[shape].title, number, SHAPES[shape].format, SHAPES[shape].remedy)
        for shape, number in sorted(by_shape.items(), key=lambda item: (-item[1], item[0]))
    ]
    return GroupReport(deployment, recognised, _traps(found), _undecided(found), found, figures_since_ms)


def _with_one_segment(sources: Sequence[SourceReport]) -> list[SourceReport]:
    senders = {item.source: item.only_sender for item in sources}
    rules = differing_in_one_segment({source: replica for source, replica in senders.items() if replica is not None})
    traps: dict[str, Trap] = {}
    for rule in rules:
        trap = Trap(TrapKind.ONE_SEGMENT, rule.text, tuple(replica for replica, _ in rule.values))
        traps |= dict.fromkeys(rule.sources, trap)
    return [_in_trap(item, traps[item.source]) if item.source in traps else item for item in sources]


def _with_single_use(sources: Sequence[SourceReport]) -> list[SourceReport]:
    few = [item for item in sources if item.trap is None and item.readings < FEW_READINGS]
    senders = {item.source: item.only_sender for item in few}
    traps: dict[str, Trap] = {}
    for alike in made_anew({source: replica for source, replica in senders.items() if replica is not None}):
        traps |= dict.fromkeys(alike, Trap(TrapKind.SINGLE_USE, told(alike)))
    return [_in_trap(item, traps[item.source]) if item.source in traps else item for item in sources]


def _in_trap(item: SourceReport, trap: Trap) -> SourceReport:
    verdict = f"only {item.only_sender} sends it, but others send sources that differ in one segment only"
    return replace(item, trap=trap, verdict=verdict, can_be_deduplicated=False, undecided=None)


def _traps(sources: Sequence[SourceReport]) -> list[TrapReport]:
    members: defaultdict[tuple[TrapKind, tuple[str, ...]], list[SourceReport]] = defaultdict(list)
    for item in sources:
        if item.trap is not None:
            members[item.trap.kind, item.trap.replicas].append(item)
    found = [
        TrapReport(kind, len(items), replicas, items[0].source, items[0].trap.text if items[0].trap else "")
        for (kind, replicas), items in members.items()
    ]
    return sorted(found, key=lambda trap: (-trap.sources, trap.kind, trap.replicas))


def _undecided(sources: Sequence[SourceReport]) -> list[UndecidedReport]:
    members = {lack: [item.source for item in sources if item.undecided is lack] for lack in Lack}
    found = [UndecidedReport(k, len(names), names[:MAX_EXAMPLES], REASONS[k]) for k, names in members.items() if names]
    return sorted(found, key=lambda item: (-item.sources, item.reason))
