"""What a fault cost a pattern, from what the plant emitted, what its senders sent, and what came out. Pure.

RPO: readings that the plant emitted meanwhile and that never reached the clean stream. RTO: the longest silence of the clean
stream, beyond the longest one without a fault. A reading belongs to a pattern by the device that the clean stream names.
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
    """A reading in a hub: which, of which device, and when the hub took it (ns)."""

    key: ReadingKey
    device: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Window:
    """Time that is looked at, in ns since 1970."""

    start_ns: int
    end_ns: int

    def holds(self, at_ns: int) -> bool:
        return self.start_ns <= at_ns < self.end_ns


@dataclass(frozen=True, slots=True)
class Cost:
    emitted: int
    lost: int
    lost_seconds: float
    """Readings that were lost, as seconds of the plant."""
    silence_seconds: float
    """RTO"""
    copies_per_reading: float
    clean_duplicates: int


def cost(
    emitted: Mapping[ReadingKey, int], sent: list[Arrival], clean: list[Arrival], window: Window, normal: float
) -> Cost:
    """`sent`, `clean`: of one pattern, in the input hub and in the clean stream. `normal`: silence without a fault."""
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
    """In seconds; the window's borders count as readings."""
    inside = sorted(at for at in at_ns if window.holds(at))
    marks = [window.start_ns, *inside, window.end_ns]
    return max(later - earlier for earlier, later in pairwise(marks)) / NS_PER_SECOND


def at_full_delay(measured_seconds: float, shortened: float, full: float) -> float:
    """What a modelled pattern's seconds would be without the shortening of its delay."""
    return round(measured_seconds + full - shortened, 1)
