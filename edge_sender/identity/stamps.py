"""Whether two subscriptions delivered the same readings with different stamps, or different readings. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Protocol

SAME_SHARE = 0.9
"""So many of the readings must have a counterpart of the same value to be called the same."""
CONSTANT_SHARE = 0.1
"""Stamps differ by the same time where the difference varies by no more than this share of it."""
REACH = 2
"""A counterpart is no further away than so many readings."""


class Stamped(Protocol):
    @property
    def time_ns(self) -> int | None: ...
    @property
    def value(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """How the stamps of the same readings differ."""

    widest_ns: int
    spacing_ns: int
    """Between two readings of one subscription; 0 if there is no telling."""
    is_constant: bool


def differences(one: Sequence[Stamped], two: Sequence[Stamped]) -> Difference | None:
    """None where the values are not the same, or there are no stamps to compare."""
    spacing = spacing_ns(one)
    times = _times_by_value(two)
    found, compared = [], 0
    for item in one:
        if item.time_ns is None:
            continue
        compared += 1
        nearest = _nearest(times.get(item.value, ()), item.time_ns)
        if nearest is not None and (spacing == 0 or abs(nearest) <= REACH * spacing):
            found.append(nearest)
    if not found or len(found) < compared * SAME_SHARE:
        return None
    middle = median(found)
    return Difference(
        widest_ns=max(map(abs, found)),
        spacing_ns=spacing,
        is_constant=all(abs(item - middle) <= CONSTANT_SHARE * abs(middle) for item in found),
    )


def spacing_ns(side: Sequence[Stamped]) -> int:
    """The usual time between two readings."""
    stamps = sorted({item.time_ns for item in side if item.time_ns is not None})
    return round(median(later - earlier for earlier, later in pairwise(stamps))) if len(stamps) > 1 else 0


def _times_by_value(side: Sequence[Stamped]) -> dict[bytes, list[int]]:
    times = defaultdict(list)
    for item in side:
        if item.time_ns is not None:
            times[item.value].append(item.time_ns)
    return {value: sorted(stamps) for value, stamps in times.items()}


def _nearest(times: Sequence[int], time_ns: int) -> int | None:
    """How far the nearest of these is from that time."""
    at = bisect_left(times, time_ns)
    return min((time - time_ns for time in times[max(0, at - 1) : at + 1]), key=abs, default=None)
