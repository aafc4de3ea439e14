"""Which readings of a source two gateways share, and by what the others differ. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_sender.commands.outputs import Copy, Output
from edge_sender.identity.comparison import MARGIN_SECONDS
from edge_sender.identity.judging import Verdict, judge
from wire.ids import NS_PER_SECOND, Identity, TimeBucket


@dataclass(frozen=True, slots=True)
class Matched:
    """`only` and `outside`: of the first gateway, and of the second."""

    source: str
    shared: int
    """Ids that both have."""
    only: tuple[int, int]
    """Readings that the other should have had, too."""
    outside: tuple[int, int]
    """Readings from before or after the time that both cover."""
    without_id: tuple[int, int]
    conflicting: Counter[str]
    """By which fields copies with one id differ, and how many."""
    differing: Counter[str]
    """By which fields a reading that only one has differs from the nearest one that only the other has."""
    strategies: tuple[str, str] | None
    """Those of the two gateways, if they are not the same."""
    verdict: Verdict

    @property
    def is_match(self) -> bool:
        is_odd = any(self.only) or any(self.without_id) or bool(self.verdict.findings) or self.strategies is not None
        return self.shared > 0 and not is_odd and not any(name.startswith("data") for name in self.conflicting)


def match(source: str, one: Output, two: Output) -> Matched:
    sides = one.copies.get(source, []), two.copies.get(source, [])
    identities = one.identity_of(source), two.identity_of(source)
    span = _common_time(*sides)
    ids = {copy.id: copy for copy in sides[0]}, {copy.id: copy for copy in sides[1]}
    shared = (ids[0].keys() & ids[1].keys()) - {None}
    lone = [[copy for copy in side if copy.id is not None and copy.id not in shared] for side in sides]
    inside = [[copy for copy in side if span.first <= span.of(copy) <= span.last] for side in lone]
    return Matched(
        source,
        len(shared),
        (len(inside[0]), len(inside[1])),
        (len(lone[0]) - len(inside[0]), len(lone[1]) - len(inside[1])),
        (_without_id(sides[0]), _without_id(sides[1])),
        Counter(name for key in shared for name in _differences(ids[0][key], ids[1][key])),
        Counter(name for pair in _pairs(inside[0], inside[1], span) for name in _differences(*pair)),
        _strategies(*identities),
        _verdict(source, identities[0] or identities[1], sides, span, one.refusals.get(source) or two.refusals.get(source)),
    )


@dataclass(frozen=True, slots=True)
class Span:
    """The time that both gateways cover: by source times, where all readings have one, else by arrival."""

    first: float
    last: float
    is_by_source: bool

    def of(self, copy: Copy) -> int:
        return copy.time_ns if self.is_by_source and copy.time_ns is not None else copy.arrived_ns


def _common_time(one: Sequence[Copy], two: Sequence[Copy]) -> Span:
    """Endless, if a gateway has nothing of the source."""
    is_by_source = all(copy.time_ns is not None for copy in (*one, *two))
    endless = Span(-math.inf, math.inf, is_by_source)
    if not one or not two:
        return endless
    times = [[endless.of(copy) for copy in side] for side in (one, two)]
    margin = 0 if is_by_source else MARGIN_SECONDS * NS_PER_SECOND
    return Span(max(map(min, times)) + margin, min(map(max, times)) - margin, is_by_source)


def _verdict(
    source: str, identity: Identity | None, sides: tuple[Sequence[Copy], Sequence[Copy]], span: Span, why: str | None
) -> Verdict:
    one, two = ([copy.seen(span.of(copy)) for copy in side] for side in sides)
    return judge(source, identity, one, two, span.first / NS_PER_SECOND, span.last / NS_PER_SECOND, why)


def _without_id(side: Sequence[Copy]) -> int:
    return sum(copy.id is None for copy in side)


def _differences(one: Copy, two: Copy) -> Iterator[str]:
    absent = object()
    for name in one.fields.keys() | two.fields.keys():
        if one.fields.get(name, absent) != two.fields.get(name, absent):
            yield name


def _pairs(one: Sequence[Copy], two: Sequence[Copy], span: Span) -> Iterator[tuple[Copy, Copy]]:
    """Each reading of one side with that of the other side whose time is nearest."""
    others = sorted(two, key=span.of)
    times = [span.of(copy) for copy in others]
    for copy in one if others else ():
        at = bisect_left(times, span.of(copy))
        yield copy, min(others[max(0, at - 1) : at + 1], key=lambda other: abs(span.of(other) - span.of(copy)))


def _strategies(one: Identity | None, two: Identity | None) -> tuple[str, str] | None:
    """None where they are the same, or one gateway has nothing of the source."""
    return None if one is None or two is None or one == two else (_text_of(one), _text_of(two))


def _text_of(identity: Identity) -> str:
    if not isinstance(identity, TimeBucket):
        return identity.name
    return f"{identity.name}:{identity.interval_ns / NS_PER_SECOND:g}+{identity.phase_ns / NS_PER_SECOND:g}"
