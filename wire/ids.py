"""Deterministic ids: the same reading gets the same id on every replica.

The id never depends on the device, the arrival time, a retry, a restart, the platform or the locale. The golden vectors in
tests/vectors/reading_ids.json hold it, for implementations in other languages too; docs/identity.md is the specification.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import rfc8785

VERSION_TAG = b"dedup-id:1"
ID_BYTES = 16


class NoIdentityError(ValueError):
    """The reading lacks what its strategy needs; it is counted and not sent, since no copy of it could be recognised."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a source delivered, before it has an id."""

    source: str
    """The same URI on every replica."""
    time_ns: int | None
    """Source time, nanoseconds since the epoch."""
    data: Any
    """JSON-serialisable payload."""


class Identity(Protocol):
    """A strategy: the fields that make a reading of one source unlike any other."""

    @property
    def name(self) -> str: ...

    def fields(self, sample: Sample) -> tuple[bytes, ...]:
        """Raises NoIdentityError."""
        ...


def reading_id(source: str, strategy: str, fields: tuple[bytes, ...]) -> str:
    """32 lower-case hex characters: the first 128 bits of SHA-256 over length-prefixed parts.

    Every part (version tag, source, strategy, each field) is preceded by its length as four bytes, big-endian, so that no
    two lists of parts have the same bytes.
    """
    digest = hashlib.sha256()
    for part in (VERSION_TAG, source.encode(), strategy.encode(), *fields):
        digest.update(struct.pack(">I", len(part)))
        digest.update(part)
    return digest.digest()[:ID_BYTES].hex()


def _decimal(number: int) -> bytes:
    return str(number).encode("ascii")


def _source_time(sample: Sample) -> int:
    if sample.time_ns is None:
        raise NoIdentityError(f"{sample.source}: the reading has no source time")
    return sample.time_ns


@dataclass(frozen=True, slots=True)
class SourceTime:
    """For servers that stamp a reading once for all subscribers."""

    name: str = "source-time"

    def fields(self, sample: Sample) -> tuple[bytes, ...]:
        return (_decimal(_source_time(sample)),)


@dataclass(frozen=True, slots=True)
class Sequence:
    """For payloads that count: `epoch` changes when the counter starts over."""

    name: str = "sequence"

    def fields(self, sample: Sample) -> tuple[bytes, ...]:
        count = sequence_of(sample.data)
        if count is None:
            raise NoIdentityError(f"{sample.source}: the payload has no sequence (a whole number, zero or more)")
        epoch, number = count
        return (epoch.encode(), _decimal(number))


@dataclass(frozen=True, slots=True)
class Content:
    """For events that carry their own time inside: the payload itself, in canonical form (RFC 8785)."""

    name: str = "content"

    def fields(self, sample: Sample) -> tuple[bytes, ...]:
        try:
            return (rfc8785.dumps(sample.data),)
        except rfc8785.CanonicalizationError as error:
            raise NoIdentityError(f"{sample.source}: the payload has no canonical form: {error}") from None


@dataclass(frozen=True, slots=True)
class TimeBucket:
    """For sources whose server stamps each subscription by itself: the nearest point of the source's own grid.

    bucket = floor((2 × (time − phase) + interval) / (2 × interval)), in whole nanoseconds. Stamps may differ by less than
    half an interval between replicas.
    """

    interval_ns: int
    phase_ns: int = 0
    name: str = "time-bucket"

    def fields(self, sample: Sample) -> tuple[bytes, ...]:
        bucket = (2 * (_source_time(sample) - self.phase_ns) + self.interval_ns) // (2 * self.interval_ns)
        return (_decimal(self.interval_ns), _decimal(self.phase_ns), _decimal(bucket))


def sequence_of(data: Any) -> tuple[str, int] | None:
    """(epoch, counter) of a payload that counts: members `sequence` and, if the counter can start over, `epoch`."""
    if not isinstance(data, Mapping):
        return None
    number, epoch = data.get("sequence"), data.get("epoch", "")
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        return None
    if isinstance(epoch, bool) or not isinstance(epoch, str | int):
        return None
    return str(epoch), number
