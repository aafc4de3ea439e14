"""Redundancy groups: which replicas send the same sources, and what is done with what they send."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from dedup_service.core.memo import MemoDict
from dedup_service.core.other_formats import FormatExtractor
from dedup_service.core.outgoing import OutputPolicy

DEFAULT_GROUP = "default"
OBSERVE = "observe"
CLOUDEVENTS = "cloudevents"
MAX_KNOWN_REPLICAS = 10_000
"""How many are cached: a sender that makes up more names costs time, not memory."""
EVERYTHING = ("*",)
AS_MANY_AS_SENT = 0
"""Of `expected_replicas`, where it is not configured: a replica that never sent is not missed."""


@dataclass(frozen=True, slots=True)
class Group:
    """One redundancy group. Patterns support `*`, `?` and `[…]`, and are case-sensitive, as IoT Hub's device ids are."""

    name: str
    window_ms: int
    mode: str
    """`drop`: publish winners; `mark`: also publish duplicates, marked; `observe`: publish nothing, only measure."""
    output: OutputPolicy
    devices: tuple[str, ...] = EVERYTHING
    sources: tuple[str, ...] = EVERYTHING
    expected_replicas: int = AS_MANY_AS_SENT
    on_conflict: str = "first-wins"
    """`first-wins`, or `dead-letter`: the deviating copy goes to the dead letters."""
    content: tuple[str, ...] = ()
    """JSON pointers to the parts of the data that copies must agree on; empty for all of its bytes."""
    silent_after_ms: int = 10_000
    extractor: FormatExtractor | None = None
    """Reads what these devices send; None for CloudEvents."""
    formats: tuple[str, ...] = (CLOUDEVENTS,)
    """What these devices send; several where inputs have formats of their own."""
    passes_on_not_readings: bool = True
    """Whether events of these devices that hold no readings (metadata, keep-alives) go to the clean hub."""

    @property
    def claim_scope(self) -> str:
        """The scope of the group's keys. An observing group claims separately: what it saw was not published, so after a
        change of mode its claims must not make a copy look like a duplicate."""
        return f"{self.name}/observe" if self.mode == OBSERVE else self.name


@dataclass(slots=True)
class Groups:
    """All groups of a deployment. A device is in the first group whose patterns name it."""

    groups: Sequence[Group]
    _devices: list[re.Pattern[str]] = field(init=False)
    _sources: dict[str, re.Pattern[str] | None] = field(init=False)
    _by_replica: MemoDict[Group | None] = field(init=False)

    def __post_init__(self) -> None:
        self._by_replica = MemoDict(self._find, MAX_KNOWN_REPLICAS)
        self._devices = [_any_of(group.devices) for group in self.groups]
        self._sources = {g.name: None if g.sources == EVERYTHING else _any_of(g.sources) for g in self.groups}

    def of_replica(self, replica: str) -> Group | None:
        """The group of a device (`edge-1`) or module (`edge-1/sender`); None when it belongs to no group."""
        return self._by_replica[replica]

    def _find(self, replica: str) -> Group | None:
        names = (replica, replica.partition("/")[0])
        matches = zip(self.groups, self._devices, strict=True)
        return next((group for group, devices in matches if any(map(devices.fullmatch, names))), None)

    def allows_all(self, group: Group) -> bool:
        return self._sources[group.name] is None

    def allows(self, group: Group, source: str) -> bool:
        """R9: a device may only send its group's sources."""
        pattern = self._sources[group.name]
        return pattern is None or pattern.fullmatch(source) is not None


def written_partitions(groups: Iterable[Group]) -> list[str]:
    """The clean partitions to which anything is published, which may be a few of all."""
    return sorted({name for group in groups if group.mode != OBSERVE for name in group.output.written_partitions})


def routing_rule(groups: Sequence[Group]) -> str:
    """Changes when a reading may go to another output partition than before: with the partitions, outputs or
    `partition_by`."""
    parts = [(g.name, g.output.partition_by, g.output.partition_ids) for g in sorted(groups, key=lambda group: group.name)]
    return blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
