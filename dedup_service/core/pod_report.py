"""What a pod reports of itself to the other pods, through Redis."""

from __future__ import annotations

import msgspec

from dedup_service.core.rebuild_progress import RebuildProgress


class Outage(msgspec.Struct, frozen=True, array_like=True):
    """While something that a pod needs was unavailable to it. Times are in ms since the epoch, by the pod's clock."""

    problem: str
    began_ms: int
    ended_ms: int | None
    """None while it is unavailable."""


class PodReport(msgspec.Struct, frozen=True):
    version: str
    started_ms: int
    partitions: dict[str, tuple[int, int, int]] = {}
    """By partition: the finished sequence number, the time up to which everything is finished, and that of the newest event
    in the hub, in ms since the epoch."""
    paused: dict[str, str] = {}
    """The dependencies that it waits for, with the problem."""
    oldest: dict[str, int] = {}
    """By partition: age in ms of the oldest event that was received. A pod of before says nothing."""
    stalled: dict[str, int] = {}
    """By partition that the pod can't get on with: since when, in ms since the epoch. A pod of before says nothing."""
    outages: dict[str, Outage] = {}
    """By dependency: the one that lasts, or one that ended within the last minute. A pod of before says nothing."""
    rebuild: RebuildProgress | None = None
    """How far it sees the claims read back that Redis lacks. A pod of before says nothing."""
    modes: dict[str, str] = {}
    """By group: the mode in which it runs. A pod of before says nothing."""


encode = msgspec.json.encode
decode = msgspec.json.Decoder(PodReport).decode
