"""What each pod needs to know of all others: one pod reads all their reports, and tells the rest in one value, whose size
does not depend on how many pods or partitions there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from dedup_service.core.lag_bounds import LagBounds, bounds_of, joined
from dedup_service.observability.owners import owners_of
from dedup_service.observability.sharing import Share
from dedup_service.ports.pods import PodBoard, PodStatus
from dedup_service.telemetry import lags_since_ms

NAME = "roll-call:1"
"""The number is that of the format: pods of different versions share it only where they write the same."""


class RollCall(msgspec.Struct, frozen=True, array_like=True):
    first: str | None
    """The first pod by name, which writes the timeline."""
    lags: LagBounds | None
    """Of the partitions of all pods (R11); None while nothing is known of any."""
    is_complete: bool = False
    """Whether all partitions that the caller knows are in a report."""


_decoder = msgspec.msgpack.Decoder(RollCall)


def roll_call_of(pods: Sequence[PodStatus], partitions: Collection[str], before: RollCall | None) -> RollCall:
    """`partitions`: all that are known. While one of them is in no report, because it changes hands, its owner died, or
    Redis has just forgotten the reports, the bounds of before go on to hold: too wide, they cost some memory; too narrow,
    they would let claims end before their last copy comes."""
    owners = owners_of(pods)
    reported = bounds_of(lags_since_ms(figures) for _, figures in owners.values() if figures.enqueued_ms)
    is_complete = bool(partitions) and all(name in owners for name in partitions)
    kept = None if is_complete or before is None else before.lags
    return RollCall(pods[0].pod if pods else None, joined(reported, kept), is_complete)


def bounds_after(known: LagBounds | None, call: RollCall) -> LagBounds | None:
    """What a pod knows after it has heard the call. An incomplete one may come from a pod that has just started, and from a
    Redis that has forgotten the call before, so that it must not narrow what this pod knew."""
    return call.lags or known if call.is_complete else joined(known, call.lags)


def share_of(board: PodBoard) -> Share[RollCall]:
    return Share(board, NAME, msgspec.msgpack.encode, _decode)


def _decode(content: bytes | None) -> RollCall | None:
    try:
        return None if content is None else _decoder.decode(content)
    except msgspec.DecodeError:
        return None
