"""Compares the ids that two subscriptions to the same source yield for the same readings. Pure.

If the ids differ on one gateway, they differ between two. Readings near the start or the end of the comparison only serve as
counterparts and are not judged themselves: the other subscription may have seen them a moment too early or too late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from statistics import median

from edge_sender.identity.rules import IdentityRules
from wire.ids import NS_PER_SECOND, Identity, NoIdentityError, Sample, TimeBucket, reading_id

MARGIN_SECONDS = 2.0
TOLERATED_SHARE = 0.01
"""Tolerated share of ids without a counterpart: a subscription may lose a notification."""
TOLERATED_IDS = 1
RISKY_OFFSET = 0.4
"""Share of the interval. A stamp half an interval off the grid falls into the next bucket."""
MAX_IDS = 200_000


class Problem(StrEnum):
    NOT_DETERMINISTIC = "not-deterministic"
    """Copies of one reading get different ids, so all of them are published."""
    MERGES = "merges"
    """Different readings get the same id, so all but the first are dropped."""
    AT_RISK = "at-risk"
    """Stamps come close to the border between two buckets."""


@dataclass(frozen=True, slots=True)
class Finding:
    uri: str
    strategy: str
    problem: Problem
    text: str


@dataclass(slots=True)
class _Side:
    """What one subscription saw of one source."""

    ids: dict[str, tuple[float, object]] = field(default_factory=dict)
    """Arrival time and content (source time and data), by id."""
    times_ns: list[int] = field(default_factory=list)
    merged: int = 0
    widest: float = 0.0


@dataclass(slots=True)
class Comparison:
    """Compares the readings of two subscriptions to the same sources."""

    rules: IdentityRules
    _sides: tuple[dict[str, _Side], dict[str, _Side]] = field(
        default_factory=lambda: (defaultdict(_Side), defaultdict(_Side))
    )
    _count: int = 0

    def observe(self, side: int, sample: Sample, at: float) -> None:
        """`side`: which subscription, 0 or 1. `at`: time of arrival in seconds, on any clock."""
        if self._count >= MAX_IDS:
            return
        try:
            identity = self.rules.of(sample.source)
            minted = reading_id(sample.source, identity.name, identity.fields(sample))
        except NoIdentityError:
            return
        self._count += 1
        seen = self._sides[side][sample.source]
        what = (sample.time_ns, sample.data)
        seen.merged += seen.ids.setdefault(minted, (at, what))[1] != what
        if sample.time_ns is not None:
            seen.times_ns.append(sample.time_ns)
            seen.widest = max(seen.widest, _offset(identity, sample.time_ns))

    def findings(self, start: float, end: float) -> list[Finding]:
        """Findings for the time in which both subscriptions were up, on the clock of `at`."""
        return [finding for uri in sorted(self._sides[0]) for finding in self._judge(uri, start, end)]

    def _judge(self, uri: str, start: float, end: float) -> Iterator[Finding]:
        identity = self.rules.of(uri)
        one, two = self._sides[0][uri], self._sides[1][uri]
        judged = unmatched = 0
        for here, there in ((one, two), (two, one)):
            inside = [i for i, (at, _) in here.ids.items() if start + MARGIN_SECONDS <= at <= end - MARGIN_SECONDS]
            judged += len(inside)
            unmatched += sum(item not in there.ids for item in inside)
        merged = one.merged + two.merged
        if unmatched > TOLERATED_IDS and unmatched > judged * TOLERATED_SHARE:
            text = (
                f"{unmatched} of {judged} ids were seen by only one of two subscriptions; {_advice(identity, one.times_ns)}"
            )
            yield Finding(uri, identity.name, Problem.NOT_DETERMINISTIC, text)
        elif one.widest > RISKY_OFFSET:
            text = f"stamps are up to {one.widest:.0%} of the interval off the grid, and 50 % is too much"
            yield Finding(uri, identity.name, Problem.AT_RISK, f"{text}; check interval and phase, or use sequence")
        if merged > TOLERATED_IDS and merged > (len(one.ids) + len(two.ids)) * TOLERATED_SHARE:
            text = f"{merged} readings got the id of another one; {_advice(identity, one.times_ns)}"
            yield Finding(uri, identity.name, Problem.MERGES, text)


def _offset(identity: Identity, time_ns: int) -> float:
    """Distance from the nearest point of the grid, as a share of the interval."""
    if not isinstance(identity, TimeBucket):
        return 0.0
    beyond = (time_ns - identity.phase_ns) % identity.interval_ns
    return min(beyond, identity.interval_ns - beyond) / identity.interval_ns


def _advice(identity: Identity, times_ns: list[int]) -> str:
    stamps = sorted(times_ns)
    steps = [later - earlier for earlier, later in pairwise(stamps) if later > earlier]
    apart = f" (they are about {median(steps) / NS_PER_SECOND:.3g} s apart)" if steps else ""
    if identity.name == "source-time":
        return f"the server stamps each subscription separately: use sequence, or time-bucket:SECONDS{apart}"
    if identity.name == "time-bucket":
        return f"the interval must be that of the readings{apart}, and jitter well below half of it; or use sequence"
    return "the payload is not the same for every subscriber, or does not distinguish one reading from another"
