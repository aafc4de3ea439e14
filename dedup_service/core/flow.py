"""How many readings were processed lately, by the second: what the pods report each second, added up in slots of two.

A slot is credited with what is reported while it lasts, so that nothing is added to it once it is over. The counts of a
minute (core/accounting.py) are exact, and go by when a reading was enqueued; these go by when its copies were finished, and
a killed pod takes those of its last second with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import msgspec

from dedup_service.core.accounting import MINUTE_MS, Counts

SLOT_MS = 2_000
KEEP_FLOW_MINUTES = 60
RATE_MS = 10_000
"""A rate is that of so long a time before the end of the last slot."""
MAX_STEPS = 180
STEPS_MS = (2_000, 4_000, 10_000, 20_000)
"""The longest makes MAX_STEPS of an hour, or one more, since steps begin at multiples of their length."""
COPIES, READINGS, DUPLICATES = "c", "r", "d"
KNOWN_FIELDS = 256

_FIELD = re.compile(r"([0-9]{1,2})([crd])")
"""Anybody may have written other fields into Redis."""


class Sums(msgspec.Struct, frozen=True, gc=False):
    """There may be hundreds of thousands in memory; the garbage collector, which holds the loop, need not look at them."""

    copies: int = 0
    readings: int = 0
    """Those that were first of their reading."""
    duplicates: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.copies + other.copies, self.readings + other.readings, self.duplicates + other.duplicates)


Slots = Mapping[int, Sums]
"""By the start of the slot, in ms since the epoch; slots without readings are left out."""


@dataclass(frozen=True, slots=True)
class Step:
    start_ms: int
    end_ms: int
    sums: Sums


def counter_of(group: str, kind: str) -> str:
    return f"{group}|{kind}"


def slots_of(minute: int, counts: Counts) -> dict[int, Sums]:
    """The slots of a minute, which is numbered since the epoch. `counts`: by number of the slot in its minute, and kind."""
    found: dict[int, Counter[str]] = {}
    for name, number in counts.items():
        field = _slot_and_kind(name)
        if field is not None and number > 0:
            found.setdefault(minute * MINUTE_MS + field[0] * SLOT_MS, Counter())[field[1]] = number
    return {at: Sums(kinds[COPIES], kinds[READINGS], kinds[DUPLICATES]) for at, kinds in found.items()}


@lru_cache(KNOWN_FIELDS)
def _slot_and_kind(name: str) -> tuple[int, str] | None:
    field = _FIELD.fullmatch(name)
    return (int(field[1]), field[2]) if field is not None and int(field[1]) < MINUTE_MS // SLOT_MS else None


def rate_over(groups: Iterable[Slots], now_ms: int) -> Step | None:
    """What was finished in the last seconds, in all of these groups. Where the first copy of all came within these, the time
    begins with the slot behind its own, of which only a part may have passed when it came. None until there is such a
    slot."""
    end_ms = now_ms // SLOT_MS * SLOT_MS
    known = [slots for slots in groups if slots]
    if not known:
        return None
    start_ms = max(end_ms - RATE_MS, min(map(min, known)) + SLOT_MS)
    sums = sum((_between(slots, start_ms, end_ms) for slots in known), Sums())
    return Step(start_ms, end_ms, sums) if start_ms < end_ms else None


def steps_of(slots: Slots, now_ms: int) -> list[Step]:
    """The last hour, or the time since the first copy, in steps of one length, which is as short as MAX_STEPS allow. The
    first and the last step may be cut short."""
    end_ms = now_ms // SLOT_MS * SLOT_MS
    start_ms = max(min(slots, default=end_ms), end_ms - KEEP_FLOW_MINUTES * MINUTE_MS)
    step_ms = next((step for step in STEPS_MS if end_ms - start_ms <= step * MAX_STEPS), STEPS_MS[-1])
    bounds = [start_ms, *range((start_ms // step_ms + 1) * step_ms, end_ms, step_ms), end_ms]
    pairs = [(start, end) for start, end in pairwise(bounds) if start < end]
    return [Step(start, end, _between(slots, start, end)) for start, end in pairs]


def _between(slots: Slots, start_ms: int, end_ms: int) -> Sums:
    found = [slots[at] for at in range(start_ms, end_ms, SLOT_MS) if at in slots]
    return Sums(
        sum(sums.copies for sums in found), sum(sums.readings for sums in found), sum(sums.duplicates for sums in found)
    )
