"""Splits claim requests by shard: where Redis is clustered, all keys of one script call must share a slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import HOME, all_shards, shards_of
from dedup_service.core.events import Reading

T = TypeVar("T")


Piece = tuple[ClaimRequest, list[Reading], list[bytes]]
"""A request, its readings that belong to one shard, and their keys."""


@dataclass(slots=True)
class ShardPart:
    shard: int
    pieces: list[Piece] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Positions of its readings among those of all requests."""


def by_shard(requests: Sequence[ClaimRequest], shards: int) -> list[ShardPart]:
    """All readings of a source are in one shard."""
    if shards == 1:
        return [ShardPart(HOME, [(request, request.readings, request.keys) for request in requests])]
    parts, shard_by_source, position = [ShardPart(shard) for shard in all_shards(shards)], shards_of(shards), 0
    for request in requests:
        own: dict[int, Piece] = {}
        for reading, key in zip(request.readings, request.keys, strict=True):
            shard = shard_by_source[reading.source]
            part = parts[shard]
            if shard not in own:
                own[shard] = (request, [], [])
                part.pieces.append(own[shard])
            _, readings, keys = own[shard]
            readings.append(reading)
            keys.append(key)
            part.positions.append(position)
            position += 1
    return [part for part in parts if part.pieces]


def in_order(parts: Sequence[ShardPart], answers: Sequence[Sequence[T]]) -> list[T]:
    """The answers for the readings of each part, put in the order of the requests."""
    if len(parts) == 1:
        return list(answers[0])
    items = [item for own in answers for item in own]
    positions = [position for part in parts for position in part.positions]
    ordered = items.copy()
    for position, item in zip(positions, items, strict=True):
        ordered[position] = item
    return ordered
