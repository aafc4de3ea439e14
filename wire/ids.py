"""Deterministic ids: the same reading gets the same id on every replica.

The id never depends on the device, the arrival time, a retry, a restart, the platform or the locale. The golden vectors in
tests/vectors/reading_ids.json pin this down for other implementations, too; docs/identity.md is the specification.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from wire.canonical_json import canonical_json, canonical_json_of_all_digits
from wire.json_pointers import MISSING, value_at

VERSION_TAG = b"dedup-id:1"
ID_BYTES = 16
ALL_DIGITS = b"all-digits:1"
"""Name and version of the canonical form with whole numbers of any size."""
NS_PER_SECOND = 1_000_000_000
KNOWN_SOURCES = 10_000
"""Whose part of the hash is kept."""
_length = struct.Struct(">I").pack


class NoIdentityError(ValueError):
    """The reading lacks what its strategy needs. It is counted and not sent, since its copies could not be recognised."""


class NoTimeError(NoIdentityError):
    """What it lacks is a time."""


class Sent(NamedTuple):
    """How another sender wrote a reading."""

    agreed: Any
    """What two copies must agree on."""
    payload: bytes
    """What is passed on as its data, as JSON."""
    properties: bytes
    """Those of its message, as a JSON object of texts; empty if it had none."""
    is_event: bool
    """Whether it is an event, whose identity is what it says, whatever the strategy of values is."""


class Sample(NamedTuple):
    """A reading as its source delivered it, before it has an id."""

    source: str
    """The source's URI, the same on every replica."""
    time_ns: int | None
    """Source time in nanoseconds since 1970; None if the source gives none."""
    data: Any
    """JSON-serialisable payload; of another sender's reading, what tells it apart."""
    sent: Sent | None = None
    """None: the payload is this sender's own."""

    @property
    def value(self) -> Any:
        """What two copies must agree on: all of it, if no format says more."""
        return self.data if self.sent is None else self.sent.agreed


class Identifiable(Protocol):
    """A reading as strategies see it: a `Sample`, or what another sender's format found."""

    @property
    def source(self) -> str: ...
    @property
    def time_ns(self) -> int | None: ...
    @property
    def data(self) -> Any: ...
    @property
    def value(self) -> Any: ...


class Identity(Protocol):
    """An identity strategy: the fields that distinguish a reading from all others of its source."""

    @property
    def name(self) -> str: ...

    def fields(self, sample: Identifiable) -> tuple[bytes, ...]:
        """Raises NoIdentityError."""
        ...


def reading_id(source: str, strategy: str, fields: tuple[bytes, ...]) -> str:
    """32 lower-case hex characters: the first 128 bits of SHA-256 over length-prefixed parts.

    Every part (version tag, source, strategy, each field) is preceded by its length as four bytes, big-endian, so that
    different lists of parts never yield the same bytes.
    """
    hashed = _of_source(source, strategy).copy()
    hashed.update(b"".join([_length(len(field)) + field for field in fields]))
    return hashed.digest()[:ID_BYTES].hex()


@lru_cache(KNOWN_SOURCES)
def _of_source(source: str, strategy: str) -> hashlib._Hash:
    """To be copied, never to be changed."""
    parts = (VERSION_TAG, source.encode(), strategy.encode())
    return hashlib.sha256(b"".join([_length(len(part)) + part for part in parts]))


def _source_time(sample: Identifiable) -> int:
    if sample.time_ns is None:
        raise NoTimeError(f"{sample.source}: the reading has no source time")
    return sample.time_ns


@dataclass(frozen=True, slots=True)
class SourceTime:
    """For servers that stamp a reading once for all subscribers."""

    name: str = "source-time"

    def fields(self, sample: Identifiable) -> tuple[bytes, ...]:
        return (b"%d" % _source_time(sample),)


@dataclass(frozen=True, slots=True)
class SourceTimeValue:
    """For servers that stamp two values of one source alike, and for senders that repeat a value with its old time.

    The fields are the source time and the value in canonical form (RFC 8785): the reading's payload, or of another sender's
    format what its copies must agree on, the value with its status. Numbers count by number, so that 5 is 5.0. Whole numbers
    that a double does not hold exactly are written as text (as RFC 8785, appendix D, advises), also where they are text
    already: 64-bit integers come in both forms.
    """

    name: str = "source-time+value"

    def fields(self, sample: Identifiable) -> tuple[bytes, ...]:
        return (b"%d" % _source_time(sample), canonical(sample.source, sample.value, exact=True))


class Count(NamedTuple):
    """What a source counts its readings by."""

    epoch: str
    """Changes when the counter starts over; empty if the source has none."""
    number: int


@dataclass(frozen=True, slots=True)
class Members:
    """Where a payload has its counter and, if that can start over, its epoch: the tokens of JSON pointers."""

    counter: tuple[str, ...] = ("sequence",)
    epoch: tuple[str, ...] = ("epoch",)
    reads_text: bool = False
    """Whether a counter may be text of decimal digits, as OPC UA's JSON has whole numbers of 64 bits."""

    def count(self, data: Any) -> Count | None:
        """None without a counter (a whole number, zero or more), and with an epoch that is neither text nor whole number."""
        number, epoch = value_at(data, self.counter), value_at(data, self.epoch)
        if self.reads_text and isinstance(number, str) and _DIGITS(number):
            number = int(number)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            return None
        if epoch is MISSING:
            return Count("", number)
        if isinstance(epoch, bool) or not isinstance(epoch, str | int):
            return None
        return Count(str(epoch), number)


USUAL_MEMBERS = Members()
_DIGITS = re.compile(r"0|[1-9][0-9]{0,19}").fullmatch


@dataclass(frozen=True, slots=True)
class Sequence:
    """For payloads with a counter; `epoch` changes when the counter starts over."""

    members: Members = USUAL_MEMBERS
    name: str = "sequence"

    def fields(self, sample: Identifiable) -> tuple[bytes, ...]:
        count = self.members.count(sample.data)
        if count is None:
            raise NoIdentityError(f"{sample.source}: the payload has no sequence (a whole number, zero or more)")
        return self.fields_of(count)

    def fields_of(self, count: Count) -> tuple[bytes, ...]:
        return (count.epoch.encode(), b"%d" % count.number)


@dataclass(frozen=True, slots=True)
class Content:
    """For events that carry their own time: the field is the payload itself, in canonical form (RFC 8785).

    That form has no whole numbers beyond 2^53 − 1, which serial numbers and nanoseconds are. A payload with one has two
    fields, the name of another form and the payload in it, so that no id of the first form can be one of the second.
    """

    name: str = "content"

    def fields(self, sample: Identifiable) -> tuple[bytes, ...]:
        try:
            return (canonical_json(sample.data),)
        except ValueError:
            pass
        try:
            return (ALL_DIGITS, canonical_json_of_all_digits(sample.data))
        except ValueError as error:
            raise _no_form(sample.source, error) from None


@dataclass(frozen=True, slots=True)
class TimeBucket:
    """For sources whose server stamps each subscription separately: the field is the nearest point of the source's own grid.

    bucket = floor((2 × (time − phase) + interval) / (2 × interval)), in whole nanoseconds. Every replica's stamp must be
    less than half an interval from that point.
    """

    interval_ns: int
    phase_ns: int = 0
    name: str = "time-bucket"

    def fields(self, sample: Identifiable) -> tuple[bytes, ...]:
        bucket = (2 * (_source_time(sample) - self.phase_ns) + self.interval_ns) // (2 * self.interval_ns)
        return (b"%d" % self.interval_ns, b"%d" % self.phase_ns, b"%d" % bucket)


def parse_strategy(text: str) -> Identity:
    """The strategy of a name, such as `source-time` or `time-bucket:0.5+0.1`, in seconds. Raises ValueError."""
    name, _, argument = text.partition(":")
    if name == "time-bucket":
        return _parse_time_bucket(argument)
    simple: tuple[Identity, ...] = (SourceTime(), SourceTimeValue(), Sequence(), Content())
    for identity in simple:
        if text == identity.name:
            return identity
    known = ", ".join(identity.name for identity in simple)
    raise ValueError(f"{text!r} is not one of {known}, time-bucket:SECONDS[+PHASE]")


def _parse_time_bucket(argument: str) -> TimeBucket:
    interval, _, phase = argument.partition("+")
    try:
        bucket = TimeBucket(round(float(interval) * NS_PER_SECOND), round(float(phase or 0) * NS_PER_SECOND))
    except (ValueError, OverflowError):
        raise ValueError(f"'time-bucket:{argument}' needs the interval in seconds, such as time-bucket:0.5") from None
    if bucket.interval_ns <= 0:
        raise ValueError(f"'time-bucket:{argument}' needs an interval above zero")
    return bucket


def canonical(source: str, data: Any, *, exact: bool = False) -> bytes:
    """The data by RFC 8785; `exact` also writes whole numbers that no double holds, as text. Raises NoIdentityError."""
    try:
        return canonical_json(data, exact=exact)
    except ValueError as error:
        raise _no_form(source, error) from None


def _no_form(source: str, error: ValueError) -> NoIdentityError:
    return NoIdentityError(f"{source}: the payload has no canonical form: {error}")


def sequence_of(data: Any) -> Count | None:
    """The count by the members `sequence` and, if the counter can start over, `epoch`; None without a counter."""
    return USUAL_MEMBERS.count(data)
