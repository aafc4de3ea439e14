"""How long live data stood still: readings were emitted, and no new one arrived in the clean stream."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

BELONGS_SECONDS = 15
"""A pause that begins later than this after a fault has another cause."""
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Pause:
    """In ns since 1970."""

    begin: float
    end: float


def pauses(emitted: Iterable[float], arrived: Iterable[float]) -> list[Pause]:
    """The pauses between two arrivals, from the first reading emitted after the one until the other. All times in ns.

    `arrived` has the first arrival of each reading, since a duplicate is not live data. A silent plant makes no pause.
    """
    sources = sorted(emitted)
    found = []
    for before, after in pairwise(sorted(arrived)):
        first = bisect_left(sources, before)
        if first < len(sources) and sources[first] < after:
            found.append(Pause(sources[first], after))
    return found


def longest_seconds(found: Iterable[Pause], *, after: float | None = None) -> float:
    """The longest pause; with `after` (ns), of those that a fault at that time may have caused."""
    if after is not None:
        found = (pause for pause in found if pause.end > after and pause.begin <= after + BELONGS_SECONDS * SECOND_NS)
    return round(max((pause.end - pause.begin for pause in found), default=0.0) / SECOND_NS, 1)
