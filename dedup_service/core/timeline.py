"""What happened to the deployment, and when: one entry each, however many pods saw it, and however often it repeats.

One pod looks for all, and writes what it saw if nobody else wrote since it last read. Pure: what is kept, and what a look
adds to it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import msgspec

Kind = Literal[
    "replica-new",
    "replica-silent",
    "conflicts",
    "window-close",
    "window-short",
    "pod-joined",
    "pod-left",
    "pod-lost",
    "partitions-moved",
    "unavailable",
    "redis-forgot",
    "claims-missing",
    "redis-memory",
]
MOMENTS: frozenset[Kind] = frozenset(
    ("replica-new", "pod-joined", "pod-left", "pod-lost", "partitions-moved", "redis-forgot")
)
"""What has no duration. Everything else lasts until it is over."""
LASTING: frozenset[Kind] = frozenset(get_args(Kind)) - MOMENTS
GOOD: frozenset[Kind] = frozenset(("replica-new", "pod-joined", "pod-left", "partitions-moved"))
"""What is no reason to worry."""
MAX_ENTRIES = 200
MAX_TEXT = 300
MAX_MS = 8_640_000_000_000_000
"""The last time that a browser can show."""
_PROCESS = re.compile(r"-[0-9]+-[0-9a-f]{8}$")
REPEAT_MS = 300_000
"""What begins for the third time so soon after it ended goes on in the entry of the second: a replica whose silence flaps
makes no storm. A moment that repeats has one entry from the first."""


Ms = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class Entry(msgspec.Struct, frozen=True):
    number: Ms
    """Rises with each entry that is made."""
    kind: Kind
    group: Text
    """Empty where it concerns no group."""
    what: Text
    """The replica, pod, dependency or group."""
    text: Text
    """What happened, as a sentence."""
    began_ms: Ms
    ended_ms: Ms | None
    """None while it lasts; of a moment, when it happened last."""
    times: Ms = 1

    @property
    def subject(self) -> Subject:
        return (self.kind, self.group, self.what)


Subject = tuple[Kind, str, str]


@dataclass(frozen=True, slots=True)
class Spell:
    """Something that a pod saw: it happened at a moment (both times are the same), has ended, or lasts."""

    kind: Kind
    what: str
    text: str
    began_ms: int
    ended_ms: int | None = None
    group: str = ""

    @property
    def subject(self) -> Subject:
        return (self.kind, self.group, self.what[:MAX_TEXT])


class Timeline(msgspec.Struct, frozen=True):
    """What can't be read as one of these is as good as forgotten: anybody may have written it into Redis."""

    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=MAX_ENTRIES)] = ()
    """In the order in which they were made."""
    next_number: Ms = 0
    changed_ms: Ms = 0
    """When a pod looked whose look changed something."""
    pods: tuple[str, ...] = ()
    owners: dict[str, str] = {}
    """By partition: the pod that last worked on it."""
    replicas: dict[str, tuple[str, ...]] = {}
    """By group: those that were ever seen."""
    forgot_ms: Ms = 0
    """When Redis last forgot, as far as it is in the entries."""

    @property
    def is_new(self) -> bool:
        return self.changed_ms == 0


@dataclass(frozen=True, slots=True)
class Sight:
    """What a pod sees of the whole deployment. Times are in ms since the epoch."""

    now_ms: int
    spells: Sequence[Spell] = ()
    """What lasts, and what ended within the last minute."""
    told: Collection[Kind] = LASTING
    """Kinds of which this look tells everything: what it does not name has ended."""
    ends_ms: Mapping[Subject, int] = field(default_factory=dict)
    """What was seen to have ended, and when."""
    pods: Collection[str] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    """Pods that are no longer there and did not say that they leave, and since when."""
    left: Collection[str] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By group: those that have sent."""
    forgot_ms: int = 0
    """When Redis last forgot what was counted; 0: not within a day."""


def observed(timeline: Timeline, sight: Sight) -> Timeline:
    """The timeline after this look: the same object when nothing has changed, or when another pod has looked later."""
    if sight.now_ms < timeline.changed_ms:
        return timeline
    draft = _Draft(list(timeline.entries), timeline.next_number)
    for spell in (*_moments(timeline, sight), *sight.spells):
        draft.note(spell)
    draft.end_others({spell.subject for spell in sight.spells if spell.ended_ms is None}, sight)
    draft.trim()
    pods = tuple(sorted({*timeline.pods, *sight.pods} - {*sight.lost, *sight.left}))
    after = Timeline(
        entries=tuple(draft.entries),
        next_number=draft.next_number,
        changed_ms=timeline.changed_ms,
        pods=pods,
        owners={**timeline.owners, **sight.owners},
        replicas=_known_replicas(timeline, sight),
        forgot_ms=max(timeline.forgot_ms, sight.forgot_ms),
    )
    return timeline if after == timeline else msgspec.structs.replace(after, changed_ms=sight.now_ms)


def _known_replicas(timeline: Timeline, sight: Sight) -> dict[str, tuple[str, ...]]:
    if not sight.replicas:
        return timeline.replicas
    return {
        group: tuple(sorted({*timeline.replicas.get(group, ()), *names})) for group, names in sorted(sight.replicas.items())
    }


def _moments(timeline: Timeline, sight: Sight) -> list[Spell]:
    """What follows from comparing what is there with what was there."""
    now = sight.now_ms
    found = [_of_pod("pod-joined", pod, "joined", now) for pod in sorted(set(sight.pods) - set(timeline.pods))]
    found += [_of_pod("pod-left", pod, "left", now) for pod in sorted(sight.left) if pod in timeline.pods]
    found += [
        _of_pod("pod-lost", pod, "was lost: it ended without leaving, or is cut off", at)
        for pod, at in sorted(sight.lost.items())
        if pod in timeline.pods
    ]
    found += _moved(timeline.owners, sight)
    if not timeline.is_new:  # else they may have sent for long
        found += [
            _moment("replica-new", name, f"{name} was seen for the first time", now, group)
            for group, names in sorted(sight.replicas.items())
            for name in names
            if name not in timeline.replicas.get(group, ())
        ]
    if sight.forgot_ms > timeline.forgot_ms:
        text = "Redis forgot: it lacked claims, and what was counted before"
        found.append(_moment("redis-forgot", "Redis", text, sight.forgot_ms))
    return found


def _moment(kind: Kind, what: str, text: str, at_ms: int, group: str = "") -> Spell:
    return Spell(kind, what, text, at_ms, at_ms, group)


def host_of(pod: str) -> str:
    """Where a pod runs, which is its name for people: what else is in its id makes each process another pod."""
    return _PROCESS.sub("", pod)


def _of_pod(kind: Kind, pod: str, text: str, at_ms: int) -> Spell:
    return _moment(kind, host_of(pod), f"{host_of(pod)} {text}", at_ms)


def _moved(before: Mapping[str, str], sight: Sight) -> list[Spell]:
    """One for each pod that took over from another one."""
    moved: dict[tuple[str, str], list[str]] = {}
    for partition, owner in sight.owners.items():
        former = before.get(partition, owner)
        if former != owner:
            moved.setdefault((owner, former), []).append(partition)
    found = []
    for (owner, former), partitions in sorted(moved.items()):
        names = (host_of(owner), host_of(former)) if host_of(owner) != host_of(former) else (owner, former)
        text = f"{names[0]} took over {_named(partitions)} from {names[1]}"
        found.append(_moment("partitions-moved", host_of(owner), text, sight.now_ms))
    return found


def _named(partitions: Sequence[str], at_most: int = 8) -> str:
    ordered = sorted(partitions, key=lambda name: (len(name), name))
    more = f" and {len(ordered) - at_most} more" if len(ordered) > at_most else ""
    return f"partition{'s' if len(ordered) > 1 else ''} {', '.join(ordered[:at_most])}{more}"


@dataclass(slots=True)
class _Draft:
    entries: list[Entry]
    next_number: int
    _places: dict[Subject, list[int]] = field(default_factory=dict)
    """Of each subject's entries, the latest last."""

    def __post_init__(self) -> None:
        for place, entry in enumerate(self.entries):
            self._places.setdefault(entry.subject, []).append(place)

    def note(self, spell: Spell) -> None:
        *former, place = self._places.get(spell.subject) or [-1]
        if place < 0 or not _continues(self.entries[place], spell, self.entries[former[-1]] if former else None):
            self._append(spell)
        else:
            self.entries[place] = _continued(self.entries[place], spell)

    def _append(self, spell: Spell) -> None:
        kind, group, what = spell.subject
        self._places.setdefault(spell.subject, []).append(len(self.entries))
        entry = Entry(self.next_number, kind, group, what, spell.text[:MAX_TEXT], spell.began_ms, spell.ended_ms)
        self.entries.append(entry)
        self.next_number += 1

    def end_others(self, lasting: Collection[Subject], sight: Sight) -> None:
        for place, entry in enumerate(self.entries):
            if entry.ended_ms is None and entry.subject not in lasting and _has_ended(entry, sight):
                ended_ms = max(entry.began_ms, sight.ends_ms.get(entry.subject, sight.now_ms))
                self.entries[place] = msgspec.structs.replace(entry, ended_ms=ended_ms)

    def trim(self) -> None:
        """What lasts stays longest."""
        surplus = len(self.entries) - MAX_ENTRIES
        if surplus > 0:
            ended = [entry.number for entry in self.entries if entry.ended_ms is not None]
            lasting = [entry.number for entry in self.entries if entry.ended_ms is None]
            dropped = set((ended + lasting)[:surplus])
            self.entries = [entry for entry in self.entries if entry.number not in dropped]


def _has_ended(entry: Entry, sight: Sight) -> bool:
    """Of what this look does not name as lasting. That a replica is not seen at all is no sign that it is back, unless its
    group is gone."""
    is_gone = bool(sight.replicas) and entry.kind == "replica-silent" and entry.group not in sight.replicas
    return entry.kind in sight.told or entry.subject in sight.ends_ms or is_gone


def _continues(entry: Entry, spell: Spell, former: Entry | None) -> bool:
    """Whether the spell belongs to this entry, the latest of its subject, or is older. `former`: the entry before."""
    if entry.ended_ms is None:
        return True
    is_soon = spell.began_ms <= entry.ended_ms + REPEAT_MS
    if spell.kind in MOMENTS:
        return is_soon and entry.text == spell.text[:MAX_TEXT]
    flaps = former is not None and former.ended_ms is not None and entry.began_ms <= former.ended_ms + REPEAT_MS
    return spell.began_ms <= entry.ended_ms or (is_soon and flaps)


def _continued(entry: Entry, spell: Spell) -> Entry:
    if spell.ended_ms is not None and spell.ended_ms <= (entry.began_ms if entry.ended_ms is None else entry.ended_ms):
        return entry  # it was seen before
    if entry.ended_ms is None:
        return entry if spell.ended_ms is None else msgspec.structs.replace(entry, ended_ms=spell.ended_ms)
    is_again = spell.began_ms >= entry.ended_ms
    return msgspec.structs.replace(
        entry, ended_ms=spell.ended_ms, text=spell.text[:MAX_TEXT], times=entry.times + int(is_again)
    )


# --- as text


ENDINGS: Mapping[Kind, str] = {
    "replica-silent": "is back",
    "conflicts": "ended",
    "window-close": "is wide enough again",
    "window-short": "is wide enough again",
    "unavailable": "is available again",
    "claims-missing": "complete",
    "redis-memory": "has room again",
}


def ending_of(entry: Entry) -> str | None:
    """Such as `is back after 2 min 28 s`; None while it lasts, and of a moment."""
    if entry.ended_ms is None or entry.kind in MOMENTS:
        return None
    lasted = span((entry.ended_ms - entry.began_ms) / 1000)
    return f"{ENDINGS[entry.kind]} after {lasted}" if entry.times == 1 else f"{ENDINGS[entry.kind]} for now"


def span(seconds: float) -> str:
    """In two units at most, such as `2 min 28 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller_size, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


encode = msgspec.json.encode
decode = msgspec.json.Decoder(Timeline).decode
