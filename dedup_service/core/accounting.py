"""Redundancy accounting: what the counters mean, and the figures that follow from them.

The scripts accounting_*.lua count each copy exactly once, in the same call that claims, and credit it to the time at which
the reading's winner was enqueued; a self-duplicate to its own time, since it may repeat a winner of days ago; `b<n>`, too.
Counters,
where `n` is a replica's number in its group:

    f<n>      readings of which n delivered the first copy (the winner)
    d<n>      readings that n delivered too, after another replica
    s<n>      further copies of readings that n had delivered already (self-duplicates, such as heartbeats)
    b<n>      copies of readings whose claim was restored, since Redis had forgotten it and what was counted: whether n had
              delivered them before is not known. Only copies, conflicts and gaps go by them
    o<n>      readings that nobody but n delivered
    x<n>      copies of n whose content differs from the winner's (conflicts)
    l<n>      winners of n that came later than their window
    r<k>      readings that exactly k replicas delivered
    h<n>:<b>  those of d<n> by how long after the winner they were enqueued; b: see `bucket_ms`
    u<n>      winners of n whose content is that of n's last copy of the same source (kept per source)
    v<n>      of d<n>, those whose content is (kept per source)
    n:<b>     winners by distance to the nearest reading of another replica (kept per source, in mode `observe`)
    m<n>:<b>  likewise, by how much later those of n are than the nearest reading of another replica with the same content
    g+, g-    sequence numbers that were passed over, and those of them that were delivered later
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

MAX_SEQUENCE = 2**53
"""Lua counts in doubles; gaps of a source that counts further are not tracked."""
KNOWN_SEQUENCES = 10_000
KNOWN_LAGS = 16_384
"""Names of counters; each replica has some hundred."""

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
KEEP_MINUTES, KEEP_HOURS = 70, 26
"""How long the counts of a minute and of an hour are kept, in minutes and hours."""
SOURCE_SECONDS = 86_400
"""How long a source is listed after its last copy."""
MAX_SOURCES = 10_000
"""How many sources of a group are counted each by itself, unless the operator says otherwise."""
BUCKET_RATIO = 1.07
"""Ratio of two neighbouring bucket bounds. A percentile that is read from the middle of a bucket is off by 3.5 % at most."""

_BUCKET = re.compile(r"-?[0-9]{1,3}")
"""Anybody may have written other fields into Redis."""

Counts = Mapping[str, int]


@lru_cache(KNOWN_SEQUENCES)
def sequence_number(text: str | None) -> int | None:
    """The number in a reading's `sequence`; None when there is none, or none that can be followed."""
    if text is None or not (text.isascii() and text.isdecimal()):
        return None
    return number if (number := int(text)) < MAX_SEQUENCE else None


def bucket_of(delta_ms: float) -> int:
    if delta_ms == 0:
        return 0
    size = math.floor(math.log(abs(delta_ms)) / math.log(BUCKET_RATIO)) + 1
    return -size if delta_ms < 0 else size


def bucket_ms(bucket: int) -> float:
    """The geometric middle of a bucket."""
    if bucket == 0:
        return 0.0
    return math.copysign(BUCKET_RATIO ** (abs(bucket) - 0.5), bucket)


def total(all_counts: Iterable[Counts]) -> Counter[str]:
    result: Counter[str] = Counter()
    for counts in all_counts:
        for name, number in counts.items():
            result[name] = result.get(name, 0) + number
    return result


def percentile(histogram: Mapping[float, int], share: float) -> float | None:
    """The value that `share` of all values do not exceed; None for an empty histogram."""
    needed = share * sum(histogram.values())
    seen = 0
    for value in sorted(histogram):
        seen += histogram[value]
        if seen >= needed and seen:
            return value
    return None


def _histogram(counts: Counts, prefix: str) -> Counter[float]:
    result: Counter[float] = Counter()
    for name, number in counts.items():
        if name.startswith(prefix) and (bucket := _BUCKET.fullmatch(name, len(prefix))):
            result[bucket_ms(int(bucket[0]))] += number
    return result


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


class ReplicaFigures(msgspec.Struct, frozen=True, array_like=True):
    copies: int
    first: int
    """Copies that were the first of their reading."""
    matched: int
    """Copies of readings that another replica had delivered before."""
    self_duplicates: int
    of_forgotten: int
    """Copies of readings whose winner was counted before Redis forgot."""
    sole: int
    """Readings that only this replica delivered."""
    conflicts: int
    late: int
    coverage: float | None
    """Share of the group's readings that this replica delivered; None while there are none, or where it is not known."""
    first_share: float | None
    """Share of the group's readings that this replica delivered first."""
    lag_p50_ms: float | None
    """How long after the winner its duplicates were enqueued; 0 for those enqueued before it."""
    lag_p99_ms: float | None
    complete: bool
    """False where Redis has forgotten a part of what was counted: then no share is known."""


class GroupFigures(msgspec.Struct, frozen=True, array_like=True):
    readings: int
    copies: int
    by_replicas: dict[int, int]
    """Readings by the number of replicas that delivered them."""
    sole_source_share: float | None
    conflicts: int
    late: int
    missing: int
    """Sequence numbers that no replica delivered."""
    spread_p999_ms: float | None
    """Time between the first copy of a reading and one of another replica."""
    complete: bool
    """As in ReplicaFigures."""


def replica_figures(counts: Counts, number: int, *, complete: bool = True) -> ReplicaFigures:
    return figures_of_replicas(counts, [number], complete=complete)[number]


def figures_of_replicas(counts: Counts, numbers: Iterable[int], *, complete: bool = True) -> dict[int, ReplicaFigures]:
    """By number. Looks at the counts once for all of them: each replica brings counters of its own."""
    readings, lags = group_readings(counts), _lags(counts)
    return {n: _figures_of(counts, n, readings, lags.get(n, Counter()), complete=complete) for n in numbers}


def _lags(counts: Counts) -> dict[int, Counter[float]]:
    """By replica: how much later than the winner its duplicates were enqueued; 0 for those enqueued before it."""
    found: dict[int, Counter[float]] = {}
    for name, times in counts.items():
        if name[:1] == "h" and (field := _lag_of(name)):
            found.setdefault(field[0], Counter())[max(0.0, field[1])] += times
    return found


@lru_cache(KNOWN_LAGS)
def _lag_of(name: str) -> tuple[int, float] | None:
    """Replica and lag in ms of a counter `h<n>:<b>`."""
    replica, _, bucket = name[1:].partition(":")
    return (int(replica), bucket_ms(int(bucket))) if replica.isdecimal() and _BUCKET.fullmatch(bucket) else None


def _figures_of(counts: Counts, number: int, readings: int, lags: Counter[float], *, complete: bool) -> ReplicaFigures:
    first, matched, repeated, of_forgotten = (counts.get(f"{letter}{number}", 0) for letter in "fdsb")
    return ReplicaFigures(
        copies=first + matched + repeated + of_forgotten,
        first=first,
        matched=matched,
        self_duplicates=repeated,
        of_forgotten=of_forgotten,
        sole=counts.get(f"o{number}", 0),
        conflicts=counts.get(f"x{number}", 0),
        late=counts.get(f"l{number}", 0),
        coverage=_ratio(first + matched, readings) if complete else None,
        first_share=_ratio(first, readings) if complete else None,
        lag_p50_ms=percentile(lags, 0.5),
        lag_p99_ms=percentile(lags, 0.99),
        complete=complete,
    )


def group_readings(counts: Counts) -> int:
    return sum(_by_letter(counts, "f").values())


def _by_letter(counts: Counts, letter: str) -> dict[int, int]:
    """Counters such as `f0` and `f1`, by their number."""
    return {int(name[1:]): n for name, n in counts.items() if name[:1] == letter and name[1:].isdecimal()}


def group_figures(counts: Counts, *, complete: bool = True) -> GroupFigures:
    readings = group_readings(counts)
    by_replicas = {k: n for k, n in sorted(_by_letter(counts, "r").items()) if n}
    spread: Counter[float] = Counter()
    for name, times in counts.items():
        if name[:1] == "h" and (field := _lag_of(name)):
            spread[abs(field[1])] += times
    return GroupFigures(
        readings=readings,
        copies=sum(sum(_by_letter(counts, letter).values()) for letter in "fdsb"),
        by_replicas=by_replicas,
        sole_source_share=_ratio(by_replicas.get(1, 0), readings) if complete else None,
        conflicts=sum(_by_letter(counts, "x").values()),
        late=sum(_by_letter(counts, "l").values()),
        missing=max(0, counts.get("g+", 0) - counts.get("g-", 0)),
        spread_p999_ms=percentile(spread, 0.999),
        complete=complete,
    )


def distances(counts: Counts) -> Counter[float]:
    """Distances, in ms, from unmatched readings to the nearest one of another replica; see `n:<b>`."""
    return _histogram(counts, "n:")


def offsets(counts: Counts) -> dict[int, Counter[float]]:
    """By replica, how much later, in ms, its readings are than those of others with the same content; see `m<n>:<b>`."""
    found: dict[int, Counter[float]] = {}
    for name in counts:
        replica = name[1:].partition(":")[0]
        if name[:1] == "m" and replica.isdecimal() and int(replica) not in found:
            found[int(replica)] = _histogram(counts, f"m{replica}:")
    return found


def unchanged(counts: Counts) -> tuple[dict[int, int], int]:
    """By replica, its winners with the content of its last copy; and how many matched copies there were of that kind."""
    return _by_letter(counts, "u"), sum(_by_letter(counts, "v").values())


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequence numbers that were passed over."""

    epoch: str
    first: int
    last: int
    found_ms: int
    """When the gap was noticed."""


@dataclass(frozen=True, slots=True)
class SourceHistory:
    """What is known about the sequence of one source."""

    gaps: list[Gap]
    forgotten: int
    """How many numbers are missing in further gaps, of which only the count is kept."""

    @property
    def missing(self) -> int:
        return self.forgotten + sum(gap.last - gap.first + 1 for gap in self.gaps)
