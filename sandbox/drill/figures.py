"""Pure functions that compute what a fault cost a pattern, from what was emitted, sent and published.

RPO: readings that the plant emitted during the fault and that never reached the clean stream. RTO: the longest silence of
the clean stream, minus the longest one without a fault. A reading belongs to the pattern of the device that the clean
stream names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

ReadingKey = tuple[str, str, int]
NS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """A reading in a hub: its key, the device that sent it, and its enqueued time (ns since 1970)."""

    key: ReadingKey
    device: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Window:
    """The observed time, in ns since 1970; the end is exclusive."""

    start_ns: int
    end_ns: int

    def holds(self, at_ns: int) -> bool:
        return self.start_ns <= at_ns < self.end_ns


@dataclass(frozen=True, slots=True)
class Cost:
    emitted: int
    lost: int
    lost_seconds: float
    """The lost readings, as seconds of the plant's output (RPO)."""
    silence_seconds: float
    """The RTO."""
    copies_per_reading: float
    clean_duplicates: int


def cost(
    emitted: Mapping[ReadingKey, int], sent: list[Arrival], clean: list[Arrival], window: Window, normal: float
) -> Cost:
    """`sent`, `clean`: readings of one pattern in the input and the clean hub. `normal`: silence (s) without a fault."""
    meant = {key for key, at_ns in emitted.items() if window.holds(at_ns)}
    times = Counter(arrival.key for arrival in clean)
    lost = sum(key not in times for key in meant)
    copies = sum(arrival.key in meant for arrival in sent)
    seconds = (window.end_ns - window.start_ns) / NS_PER_SECOND
    return Cost(
        emitted=len(meant),
        lost=lost,
        lost_seconds=round(lost / len(meant) * seconds, 2) if meant else 0.0,
        silence_seconds=round(max(0.0, longest_silence((a.at_ns for a in clean), window) - normal), 2),
        copies_per_reading=round(copies / len(meant), 2) if meant else 0.0,
        clean_duplicates=sum(times[key] - 1 for key in meant if key in times),
    )


def longest_silence(at_ns: Iterable[int], window: Window) -> float:
    """The longest time without a reading, in seconds; the window's borders count as readings."""
    inside = sorted(at for at in at_ns if window.holds(at))
    marks = [window.start_ns, *inside, window.end_ns]
    return max(later - earlier for earlier, later in pairwise(marks)) / NS_PER_SECOND


def at_full_delay(measured_seconds: float, shortened: float, full: float) -> float:
    """The seconds that would have been measured if a modelled pattern's delay had not been shortened."""
    return round(measured_seconds + full - shortened, 1)
