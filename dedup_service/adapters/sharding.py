"""Claim requests by shard, since the keys of one script call must share a slot where Redis is clustered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import shard_of

T = TypeVar("T")
FIRST = [0]


@dataclass(slots=True)
class ShardPart:
    shard: int
    requests: list[ClaimRequest] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Of its readings among those of all requests."""


def by_shard(requests: Sequence[ClaimRequest], shards: int) -> list[ShardPart]:
    """All readings of a source are in one shard."""
    if shards == 1:
        return [ShardPart(0, list(requests))]
    parts = [ShardPart(shard) for shard in range(shards)]
    first = 0
    for request in requests:
        for shard, places in _by_shard(request, shards).items():
            part = parts[shard]
            part.requests.append(request.only(places))
            part.positions += [first + place for place in places]
        first += len(request.readings)
    return [part for part in parts if part.requests]


def _by_shard(request: ClaimRequest, shards: int) -> dict[int, list[int]]:
    """The places of its readings."""
    if len(request.readings) == 1:
        return {shard_of(request.readings[0].source, shards): FIRST}
    places: dict[int, list[int]] = {}
    for place, reading in enumerate(request.readings):
        places.setdefault(shard_of(reading.source, shards), []).append(place)
    return places


def in_order(parts: Sequence[ShardPart], found: Sequence[Sequence[T]]) -> list[T]:
    """What was found for the readings of each part, in the order of the requests."""
    if len(parts) == 1:
        return list(found[0])
    items = [item for own in found for item in own]
    positions = [position for part in parts for position in part.positions]
    ordered = items.copy()
    for position, item in zip(positions, items, strict=True):
        ordered[position] = item
    return ordered
