"""Why the ids of a source never match, as far as source times and contents tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dedup_service.core.accounting import BUCKET_RATIO, Counts, distances, offsets, percentile
from dedup_service.core.traps import Trap, TrapKind

OFTEN = 0.3
"""Of two replicas with the same times, the first to deliver finds no equal time yet."""
NEARLY_ALL = 0.8
FEW = 10
"""Fewer distances than this are no pattern."""
NEARLY = BUCKET_RATIO**1.5
"""Ratio to the median within which distances count as the same one: that of the next bucket on either side."""
MINUTE, HOUR = 60_000, 3_600_000
ZONES = ((3 * HOUR, 15 * MINUTE), (7 * HOUR, 30 * MINUTE), (27 * HOUR, HOUR))
"""(below, unit): multiples of which unit differences of time zones are. Larger ones are measured less exactly."""
ZONE_TOLERANCE = 0.04


@dataclass(frozen=True, slots=True)
class _Offset:
    replica: str
    ms: float
    """How much later it stamps than the others; negative if earlier."""


def why_never_matching(counts: Counts, names: Mapping[int, str], *, is_observed: bool) -> Trap:
    """`is_observed`: whether the source's group measures times, which only the mode `observe` does."""
    measured = distances(counts)
    total = measured.total()
    if not total and not is_observed:
        return _trap(TrapKind.NOT_MEASURED, "mode `observe` measures why (of another deployment, in a namespace of its own)")
    if not total:
        return _trap(TrapKind.NO_TIMES, "its readings carry no source time: use the identity `sequence` or `content`")
    if measured[0.0] >= OFTEN * total:
        return _same_times(counts, measured[0.0])
    if (offset := _constant(counts, names, total)) is not None:
        return _zone(offset) or _phase(_apart(offset, abs(offset.ms)), abs(offset.ms), offset.replica)
    nearest = percentile(measured, 0.5) or 0.0
    seen = f"the nearest readings of two replicas are {nearest:.0f} ms apart in source time"
    if total >= FEW and _is_constant(measured):
        return _phase(seen, nearest)
    return _trap(
        TrapKind.OWN_STAMPS,
        f"{seen}, so each replica gets its own stamps: use the identity `time-bucket` with the source's interval, or "
        "`sequence`",
    )


def _same_times(counts: Counts, same: int) -> Trap:
    equal = sum(by_offset[0.0] for by_offset in offsets(counts).values())
    if equal >= same / 2:
        return _trap(
            TrapKind.OTHER_IDS,
            "their times and contents are equal, so the ids are made of something that each gateway or message has for "
            "itself, such as a message id or a counter: use the identity `source-time`",
        )
    return _trap(
        TrapKind.OTHER_CONTENTS,
        "their times are equal, but their contents are not: use the identity `source-time` without the value, and list what "
        "copies must agree on (`content` of the group)",
    )


def _constant(counts: Counts, names: Mapping[int, str], total: int) -> _Offset | None:
    """The offset of readings with the same content, if it is nearly always the same one."""
    by_replica = offsets(counts)
    absolute: Counter[float] = Counter()
    for histogram in by_replica.values():
        for offset, number in histogram.items():
            absolute[abs(offset)] += number
    if absolute.total() < max(FEW, OFTEN * total) or not _is_constant(absolute):
        return None
    number = max(by_replica, key=lambda replica: by_replica[replica].total())
    median = percentile(by_replica[number], 0.5) or 0.0
    return _Offset(names.get(number, "one replica"), median)


def _is_constant(histogram: Counter[float]) -> bool:
    median = percentile(histogram, 0.5)
    if not median:
        return False
    near = sum(n for distance, n in histogram.items() if median / NEARLY <= distance <= median * NEARLY)
    return near >= NEARLY_ALL * histogram.total()


def _zone(offset: _Offset) -> Trap | None:
    size = abs(offset.ms)
    unit = next((unit for below, unit in ZONES if size < below), HOUR)
    multiple = round(size / unit) * unit
    if not multiple or abs(size - multiple) > ZONE_TOLERANCE * size:
        return None
    return _trap(
        TrapKind.TIME_ZONE,
        f"{_apart(offset, multiple)}, which is the difference of two time zones: set the gateway's clock or zone right, "
        "since no identity that looks at the time can help",
        offset.replica,
    )


def _phase(seen: str, ms: float, *replicas: str) -> Trap:
    half = ms / 2000
    return _trap(
        TrapKind.CONSTANT_OFFSET,
        f"{seen}, always by the same: compare the clocks; if they are right, use the identity `time-bucket:I+{half:.3g}`, "
        f"where I is the source's interval in seconds and larger than {4 * half:.3g}",
        *replicas,
    )


def _apart(offset: _Offset, ms: float) -> str:
    return f"{offset.replica} stamps {_duration(ms)} {'earlier' if offset.ms < 0 else 'later'} than the others"


def _duration(ms: float) -> str:
    if ms >= HOUR:
        return f"{ms / HOUR:.3g} h"
    if ms >= MINUTE:
        return f"{ms / MINUTE:.3g} min"
    return f"{ms / 1000:.3g} s" if ms >= 1000 else f"{ms:.3g} ms"


def _trap(kind: TrapKind, remedy: str, *replicas: str) -> Trap:
    return Trap(kind, f"can't be deduplicated, because the replicas give its readings different ids; {remedy}", replicas)
