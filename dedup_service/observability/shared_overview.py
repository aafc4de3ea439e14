"""The overview as one pod shares it with all others."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from dedup_service.core.accounting import GroupFigures
from dedup_service.core.groups import Group
from dedup_service.core.overview import GroupOverview, GroupState, ReplicaOverview, WindowState
from dedup_service.observability.sharing import Share
from dedup_service.ports.pods import PodBoard, RedisMemory

FORMAT = 1
"""Pods of different versions share nothing with each other unless they write the same."""
COMPRESSION = 1
MAX_BYTES = 64 * 1024 * 1024
"""Anybody may have written something into Redis that unpacks to more than the memory holds."""


@dataclass(frozen=True, slots=True)
class Overview:
    now_ms: int
    groups: list[GroupOverview]
    memory: RedisMemory
    projected_bytes: int
    figures_since_ms: int | None = None
    """When Redis forgot what it had counted before, within the longest period; None otherwise."""


class _Group(msgspec.Struct, frozen=True, array_like=True):
    """A GroupOverview without the group itself, which every pod knows from its configuration."""

    name: str
    state: GroupState
    expected: int
    live: int
    figures: dict[str, GroupFigures]
    replicas: list[ReplicaOverview]
    window_state: WindowState
    readings_per_second: float


class _Overview(msgspec.Struct, frozen=True, array_like=True):
    now_ms: int
    groups: list[_Group]
    memory: tuple[int, int, int]
    projected_bytes: int
    figures_since_ms: int | None


_decoder = msgspec.msgpack.Decoder(_Overview)


def share_of(board: PodBoard, groups: Sequence[Group]) -> Share[Overview]:
    return Share(board, name_of(groups), encode, partial(decode, groups=groups))


def name_of(groups: Sequence[Group]) -> str:
    """Pods whose groups are configured otherwise, as in a rolling update, judge by other limits."""
    limits = [(group.name, group.window_ms, group.expected_replicas, group.silent_after_ms) for group in groups]
    return f"overview:{FORMAT}:{hashlib.blake2b(msgspec.json.encode(limits), digest_size=8).hexdigest()}"


def encode(overview: Overview) -> bytes:
    groups = [
        _Group(
            item.group.name,
            item.state,
            item.expected,
            item.live,
            item.figures,
            item.replicas,
            item.window_state,
            item.readings_per_second,
        )
        for item in overview.groups
    ]
    memory = overview.memory
    packed = _Overview(
        overview.now_ms,
        groups,
        (memory.used_bytes, memory.limit_bytes, memory.evicted_keys),
        overview.projected_bytes,
        overview.figures_since_ms,
    )
    return zlib.compress(msgspec.msgpack.encode(packed), COMPRESSION)


def decode(content: bytes | None, groups: Sequence[Group]) -> Overview | None:
    """None for what is not an overview of these groups."""
    if content is None:
        return None
    try:
        found = _decoder.decode(zlib.decompressobj().decompress(content, MAX_BYTES))
    except (zlib.error, msgspec.DecodeError):
        return None
    if [item.name for item in found.groups] != [group.name for group in groups]:
        return None
    overviews = [
        GroupOverview(
            group=group,
            state=item.state,
            expected=item.expected,
            live=item.live,
            figures=item.figures,
            replicas=item.replicas,
            window_state=item.window_state,
            readings_per_second=item.readings_per_second,
        )
        for group, item in zip(groups, found.groups, strict=True)
    ]
    return Overview(found.now_ms, overviews, RedisMemory(*found.memory), found.projected_bytes, found.figures_since_ms)
