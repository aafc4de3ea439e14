"""The argument that claim.lua gets about the readings that claim: a head for each event, and for each of its readings the
claim that it wants, followed by a record where copies are accounted.

Groups, sources and epochs are named once in a call, and are numbered there from 1.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from dedup_service.adapters.redis.ledger_keys import source_digest
from dedup_service.adapters.redis.sharding import Piece
from dedup_service.core.accounting import sequence_number
from dedup_service.core.claims import LAYOUT, UNCONFIRMED
from dedup_service.core.times import source_time_ms

_HEAD = struct.Struct(">ddHBH")
"""Head of an event: the claims' TTLs in ms while they are unconfirmed and from a repetition on, the numbers of group and
replica, and how many readings follow."""
_ACCOUNTED = struct.Struct(f"{LAYOUT.format}HBddH")
"""A claim and its record: the source's number, flags, sequence, source time in ms, and the epoch's number."""
_ACCOUNTED_HEAD = struct.Struct(f"{_HEAD.format}dd")
"""The same with the event's sequence number and enqueued time in ms."""
HEAD_BYTES, ACCOUNTED_HEAD_BYTES, RECORD_BYTES = _HEAD.size, _ACCOUNTED_HEAD.size, _ACCOUNTED.size - LAYOUT.size
LATE, COUNTED, TIMED = 1, 2, 4
"""Flags: came later than its window; has a sequence; has a source time."""


class Numbers(dict[str, int]):
    """Names, numbered in the order of their first look-up."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self) + 1
        return number


class SourceNumbers(dict[str, int]):
    """A group's sources, numbered together with those of the other groups in a call."""

    def __init__(self, group: str, named: list[tuple[str, str]]) -> None:
        self._group = group
        self._named = named

    def __missing__(self, source: str) -> int:
        self._named.append((source_digest(self._group, source), source))
        self[source] = number = len(self._named)
        return number


class ClaimEncoder:
    """Encodes one script call; single use."""

    def __init__(self, pieces: Sequence[Piece], *, accounting: bool = True) -> None:
        self._groups, self._epochs = Numbers(), Numbers()
        self._sources: dict[str, SourceNumbers] = {}
        self._named: list[tuple[str, str]] = []
        self.records = b"".join(self._accounted(pieces) if accounting else self._parts(pieces))

    def names(self, prefix: str) -> bytes:
        """MessagePack of the key prefix, the groups, the sources as [digest, text], and the epochs."""
        return msgspec.msgpack.encode([prefix, list(self._groups), self._named, list(self._epochs)])

    def _parts(self, pieces: Sequence[Piece]) -> list[bytes]:
        parts: list[bytes] = []
        for request, readings, _ in pieces:
            group = self._groups[request.group]
            parts.append(_HEAD.pack(request.ttl_ms, request.confirmed_ttl_ms, group, request.replica, len(readings)))
            parts += request.claims_of(readings)
        return parts

    def _accounted(self, pieces: Sequence[Piece]) -> list[bytes]:
        """A single loop that spares every call it can, since it runs for every copy."""
        parts: list[bytes] = []
        head, pack, groups, epochs = _ACCOUNTED_HEAD.pack, _ACCOUNTED.pack, self._groups, self._epochs
        for request, readings, _ in pieces:
            event, group, late, enqueued_ms = request.event, request.group, request.late, request.enqueued_ms
            is_timed, sources = request.is_timed, self._sources.get(group) or self._sources_of(group)
            own = request.ttl_ms, request.confirmed_ttl_ms, groups[group], request.replica, len(readings)
            parts.append(head(*own, event.sequence_number, enqueued_ms))
            for reading in readings:
                sequence = sequence_number(reading.sequence)
                flags = 0 if sequence is None else COUNTED
                if late and reading.index in late:
                    flags |= LATE
                time_ms = source_time_ms(reading.time) if is_timed else None
                if time_ms is not None:
                    flags |= TIMED
                parts.append(
                    pack(
                        UNCONFIRMED,
                        1 << request.replica,
                        event.incarnation,
                        event.partition,
                        event.sequence_number,
                        reading.index,
                        enqueued_ms >> 32,
                        enqueued_ms & 0xFFFFFFFF,
                        reading.content_hash,
                        sources[reading.source],
                        flags,
                        sequence or 0,
                        time_ms or 0,
                        epochs[reading.epoch or ""],
                    )
                )
        return parts

    def _sources_of(self, group: str) -> SourceNumbers:
        return self._sources.setdefault(group, SourceNumbers(group, self._named))
