"""Claim requests by shard, since the keys of one script call must share a slot where Redis is clustered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import shard_of

T = TypeVar("T")


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
    parts: dict[int, ShardPart] = {}
    first = 0
    for request in requests:
        places: dict[int, list[int]] = {}
        for place, reading in enumerate(request.readings):
            places.setdefault(shard_of(reading.source, shards), []).append(place)
        for shard, own in places.items():
            part = parts.setdefault(shard, ShardPart(shard))
            part.requests.append(request.only(own))
            part.positions += [first + place for place in own]
        first += len(request.readings)
    return list(parts.values())


def in_order(parts: Sequence[ShardPart], found: Sequence[list[T]]) -> list[T]:
    """What was found for the readings of each part, in the order of the requests."""
    if len(parts) == 1:
        return found[0]
    by_position = {
        position: item
        for part, own in zip(parts, found, strict=True)
        for position, item in zip(part.positions, own, strict=True)
    }
    return [by_position[position] for position in range(len(by_position))]
