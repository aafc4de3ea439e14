"""Judges whether a source's identity makes the ids of two gateways match, by what two subscriptions delivered. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from edge_sender.identity.stamps import Difference, differences, spacing_ns
from wire.ids import NS_PER_SECOND, Identity, TimeBucket

FEWEST = 5
"""So many readings of each subscription are needed for a verdict."""
TOLERATED_SHARE = 0.01
"""A subscription may lose a notification."""
TOLERATED = 1
RISKY_OFFSET = 0.4
"""Share of the interval. A stamp half an interval off the grid falls into the next bucket."""
COMMON_POLLER = (
    "let all gateways ask at the same moments (`sampling: aligned` with time-bucket), or let one gateway at a time send it "
    "(active-passive); docs/identity.md"
)


class Problem(StrEnum):
    NO_IDENTITY = "no-identity"
    """Readings get no id, and are dropped."""
    NOT_DETERMINISTIC = "not-deterministic"
    """Copies of one reading get different ids, so all of them are published."""
    SAMPLED_SEPARATELY = "sampled-separately"
    """The server takes other readings for each subscription, so that there are no copies."""
    CONFLICTS = "conflicts"
    """Readings with the same id have different values, of which only one is published."""
    MERGES = "merges"
    """Different readings get the same id, so all but the first are dropped."""
    AT_RISK = "at-risk"
    """Stamps come close to the border between two buckets."""


class Seen(NamedTuple):
    """A reading as one subscription delivered it."""

    at: float
    """When it arrived, in seconds on the check's clock."""
    time_ns: int | None
    value: bytes
    """A hash of what copies must agree on."""
    id: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    problem: Problem
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    uri: str
    strategy: str
    findings: tuple[Finding, ...] = ()
    unjudged: str | None = None
    """Why nothing can be said yet."""


def judge(
    uri: str, identity: Identity | None, one: Sequence[Seen], two: Sequence[Seen], start: float, end: float, why: str | None
) -> Verdict:
    """`start` and `end`: readings that arrived in between are judged, all others are only counterparts. `why`: the reason
    for which readings got no id, if there were any."""
    name = "none" if identity is None else identity.name
    judged = [item for side in (one, two) for item in side if start <= item.at <= end]
    without = sum(item.id is None for item in judged)
    if without > TOLERATED and _is_too_much(without, len(judged)):
        text = f"{without} of {len(judged)} readings get no id and are dropped: {why}"
        return Verdict(uri, name, (Finding(Problem.NO_IDENTITY, text),))
    if identity is None or min(_inside(one, start, end), _inside(two, start, end)) < FEWEST:
        return Verdict(uri, name, unjudged=f"{_inside(one, start, end)} and {_inside(two, start, end)} readings so far")
    return Verdict(uri, name, tuple(_findings(identity, one, two, start, end)))


def _inside(side: Sequence[Seen], start: float, end: float) -> int:
    return sum(start <= item.at <= end for item in side)


def _is_too_much(number: int, of: int) -> bool:
    return number > TOLERATED and number > of * TOLERATED_SHARE


def _findings(identity: Identity, one: Sequence[Seen], two: Sequence[Seen], start: float, end: float) -> Iterator[Finding]:
    ids = [{item.id: item for item in reversed(side)} for side in (one, two)]
    judged = unmatched = 0
    for side, other in ((one, ids[1]), (two, ids[0])):
        inside = {item.id for item in side if start <= item.at <= end}
        judged += len(inside)
        unmatched += sum(item not in other for item in inside)
    shared = ids[0].keys() & ids[1].keys()
    conflicting = sum(ids[0][name].value != ids[1][name].value for name in shared)
    merged = sum(_merged(side) for side in (one, two))
    if _is_too_much(unmatched, judged):
        judged_ones = [item for item in one if start <= item.at <= end]
        yield _unmatched(
            f"{unmatched} of {judged} ids were seen by only one of two subscriptions", identity, judged_ones, two
        )
    elif (widest := max(_offset(identity, item.time_ns) for item in (*one, *two))) > RISKY_OFFSET:
        text = f"stamps are up to {widest:.0%} of the interval off the grid, and 50 % is too much"
        yield Finding(Problem.AT_RISK, f"{text}; check interval and phase, or use sequence")
    if _is_too_much(conflicting, len(shared)):
        text = f"{conflicting} of {len(shared)} ids that both subscriptions share carry different values"
        yield Finding(Problem.CONFLICTS, f"{text}; {_advice_for_conflicts(identity)}")
    if _is_too_much(merged, len(one) + len(two)):
        yield Finding(Problem.MERGES, f"{merged} readings got the id of another one; {_advice_for_merging(identity, one)}")


def _merged(side: Sequence[Seen]) -> int:
    first: dict[str | None, tuple[int | None, bytes]] = {}
    return sum(first.setdefault(item.id, (item.time_ns, item.value)) != (item.time_ns, item.value) for item in side)


def _offset(identity: Identity, time_ns: int | None) -> float:
    """Distance from the nearest point of the grid, as a share of the interval."""
    if not isinstance(identity, TimeBucket) or time_ns is None:
        return 0.0
    beyond = (time_ns - identity.phase_ns) % identity.interval_ns
    return min(beyond, identity.interval_ns - beyond) / identity.interval_ns


def _unmatched(what: str, identity: Identity, one: Sequence[Seen], two: Sequence[Seen]) -> Finding:
    if identity.name in ("sequence", "content"):
        text = "the payload is not the same for every subscriber, or each subscription gets only a part of the messages"
        return Finding(Problem.NOT_DETERMINISTIC, f"{what}; {text}")
    found = differences(one, two)
    if found is None:
        text = (
            "the values differ as well, so the server takes its own readings for each subscription, and no id matches them"
        )
        return Finding(Problem.SAMPLED_SEPARATELY, f"{what}; {text}; {COMMON_POLLER}")
    return Finding(Problem.NOT_DETERMINISTIC, f"{what}; {_advice_for_stamps(identity, found)}")


def _advice_for_stamps(identity: Identity, found: Difference) -> str:
    apart, widest = _seconds(found.spacing_ns), _seconds(found.widest_ns)
    how = "by the same time each" if found.is_constant else "by varying times"
    text = (
        f"the values are the same, but the server stamps each subscription separately: stamps differ {how}, up to {widest}"
    )
    if found.spacing_ns == 0 or found.widest_ns > RISKY_OFFSET * found.spacing_ns:
        return f"{text}, too much for time-bucket, since readings are about {apart} apart: use sequence, or {COMMON_POLLER}"
    if identity.name == "time-bucket":
        return f"{text}; the interval must be that of the readings, about {apart}, and the phase theirs; or use sequence"
    return f"{text}: use sequence, or time-bucket:SECONDS with the interval of the readings, about {apart}"


def _advice_for_conflicts(identity: Identity) -> str:
    if identity.name == "time-bucket":
        return f"a bucket holds other readings on each gateway, since the server takes its own for each; {COMMON_POLLER}"
    if identity.name == "source-time":
        return "the server gives two values the same time: use source-time+value"
    return "the identity does not distinguish one reading from another"


def _advice_for_merging(identity: Identity, side: Sequence[Seen]) -> str:
    if identity.name == "time-bucket":
        apart = _seconds(spacing_ns(side))
        return f"the interval must be that of the readings (they are about {apart} apart); or use sequence"
    if identity.name == "source-time":
        return "the server gives several values the same time: use source-time+value, or sequence"
    return "the payload does not distinguish one reading from another"


def _seconds(ns: int) -> str:
    return f"{ns / NS_PER_SECOND:.3g} s"
