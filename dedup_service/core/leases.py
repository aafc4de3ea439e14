"""Leases: the right to send for an input partition, and how partitions are shared among pods.

The lease is kept in Redis with an epoch and a deadline by Redis' clock. This is the pod's own, cautious view of it, and of
the record next to it that is meant for the next owner.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from dedup_service.core.input_log import InputLog
from dedup_service.core.progress import Position
from dedup_service.errors import Dependency, DependencyKind, LeaseLostError, UnavailableError

LEASE = Dependency(DependencyKind.LEASE)
RULE_PREFIX = "rule:"
GENERATION = "generation:"
MIXED_RULES = ""
"""More than one routing rule was in force behind the sample, or nobody knows which."""

Uint32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Number = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
_decode_record = msgspec.json.Decoder(tuple[tuple[Number, str, Number] | None, dict[str, Number], Uint32]).decode

Tenure = tuple[int, int]
"""The generation and the fence of the leases' shard: a lease does not outlive a change of either."""
EndOffsets = Mapping[str, int]
"""The clean hub's last enqueued sequence number by output partition, at some moment: a sample of where the stream ends."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What an owner leaves for the next one.

    `sample` was known before the first send behind `finished`: whatever was sent for a later event is behind it in the clean
    stream. `incarnation` is that of the input hub to which `finished` belongs.
    """

    finished: Position | None
    sample: EndOffsets
    incarnation: int
    rule: str = MIXED_RULES
    """The routing rule (see `routing_rule`) of everything that was sent behind the sample."""
    generation: int = 0
    """How often the partition's sequence numbers have gone back under this incarnation; see InputLog."""

    def encode(self) -> bytes:
        """The rule and the generation are among the offsets, where pods of before them do not look."""
        finished = self.finished
        position = None if finished is None else [finished.sequence_number, finished.offset, finished.enqueued_ms]
        sample = {**self.sample, **({RULE_PREFIX + self.rule: 0} if self.rule else {})}
        if self.generation:
            sample[GENERATION] = self.generation
        return json.dumps([position, sample, self.incarnation], separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> LeaseRecord:
        """Raises ValueError."""
        position, entries, incarnation = _decode_record(data)
        rules = [name.removeprefix(RULE_PREFIX) for name in entries if name.startswith(RULE_PREFIX)]
        generation = entries.pop(GENERATION, 0)
        sample = {name: number for name, number in entries.items() if not name.startswith(RULE_PREFIX)}
        finished = None if position is None else Position(*position)
        return cls(finished, sample, incarnation, rules[0] if rules else MIXED_RULES, generation)


@dataclass(slots=True)
class Lease:
    """One pod's lease on one partition. Times are monotonic seconds."""

    partition_id: str
    epoch: int
    valid_until: float
    inherited: LeaseRecord | None
    is_lost: bool = False
    record: LeaseRecord | None = None
    """Written with the next renewal."""
    written: LeaseRecord | None = None
    """What this owner has written last."""
    tenure: Tenure | None = None
    """Under what it was taken; None where there are no markers."""
    inherited_is_current: bool = False
    """Whether the inherited record is of the present marker's generation, so that it can't be older than the checkpoint."""

    begun: int = -1
    """Events up to this sequence number may be begun to be sent. Written with the next renewal, unless that is too late."""
    begun_written: int = -1
    """How far that is surely written."""
    inherited_begun: int | None = None
    """The last owner's; None where it did not say."""

    def begun_is_written(self, number: int) -> None:
        self.begun_written = max(self.begun_written, number)

    def renewed(self, asked_at: float, ttl_seconds: float) -> None:
        """Counts from before the request was sent, so that Redis' deadline is never earlier than this one."""
        self.valid_until = max(self.valid_until, asked_at + ttl_seconds)

    def require(self, now: float, seconds: float) -> None:
        """Raises LeaseLostError when another owner has the lease, and UnavailableError when not more than `seconds` are
        surely left."""
        if self.is_lost:
            raise LeaseLostError(f"another owner has partition {self.partition_id}")
        if self.valid_until - now <= seconds:
            raise UnavailableError(LEASE, f"partition {self.partition_id} could not be renewed in time")


@dataclass(frozen=True, slots=True)
class Presence:
    """What a pod says of itself when it renews."""

    takes_part: bool = True
    """False while it can't work: then the others share the partitions without it."""
    progressed_ago: float | None = None
    """Seconds since it last made progress on any partition; None when it never did."""


PRESENT = Presence()


@dataclass(frozen=True, slots=True)
class TakeoverState:
    """What an owner knows when it begins with a partition."""

    lease: Lease
    incarnation: int
    """The incarnation of the input hub."""
    horizon: int
    """Sequence numbers up to here may have been handled by a predecessor."""
    sample: EndOffsets
    """Inherited from the predecessor, or taken before the first send."""
    rule: str = MIXED_RULES
    """The routing rule of everything that predecessors sent behind the sample, if it is also the present one."""
    finished: Position | None = None
    """The last event that a predecessor finished; None when the partition is read from a time onwards."""
    is_behind: bool = False
    """Whether events are waiting that nobody has finished."""
    last_enqueued_ms: int = 0
    """When the hub's last event was enqueued."""
    generation: int = 0
    """See LeaseRecord."""

    @property
    def log(self) -> InputLog:
        return InputLog.of(self.incarnation, self.lease.partition_id, self.generation)


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer to a renewal of everything that a pod holds."""

    pods: list[str]
    """Live pods that take part."""
    free: list[str]
    """Partitions that nobody holds."""
    lost: list[str]
    """Partitions that this pod thought it held."""
    sample: EndOffsets | None
    """The newest sample that any pod took."""
    others_progressed_ago: float = float("inf")
    """Seconds since any other pod last made progress."""
    must_wait: bool = False
    """Whether pods of another configuration are at work, so that this pod is granted nothing."""


def still_held(held: Sequence[Lease], tenure: Tenure | None) -> list[Lease]:
    """Those of the present tenure. The others are lost, whatever Redis says of them, and although this pod was refused
    nothing: it may have learned of the fence before it asked for a renewal."""
    for lease in held:
        lease.is_lost = lease.is_lost or lease.tenure != tenure
    return [lease for lease in held if not lease.is_lost]


def all_lost(held: Sequence[Lease], *, must_wait: bool = False) -> Renewal:
    """The answer where Redis has forgotten claims, or where pods of another configuration are at work: whatever it says of
    these leases later, they are not held any more."""
    for lease in held:
        lease.is_lost = True
    return Renewal(pods=[], free=[], lost=[lease.partition_id for lease in held], sample=None, must_wait=must_wait)


def fair_share(pods: list[str], me: str, partitions: int) -> int:
    """How many partitions `me` should hold. All pods compute the same; the remainder goes to the first by name."""
    ranked = sorted({*pods, me})
    share, remainder = divmod(partitions, len(ranked))
    return share + (ranked.index(me) < remainder)


@dataclass(slots=True)
class NewestSample:
    """The newest sample that this pod knows of, whichever pod took it."""

    end_offsets: EndOffsets = field(default_factory=dict)
    is_behind: bool = False
    """Whether this pod has sent something since it knows this sample."""

    def saw(self, sample: EndOffsets | None) -> None:
        if sample is not None and sample != self.end_offsets:
            self.end_offsets, self.is_behind = sample, False
