"""What the pipeline needs from outside. Each docstring states guarantee, failure and idempotence.

All of them raise UnavailableError when they can't be used right now; the caller slows down and tries again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dedup_service.core.balancing import Ownership
from dedup_service.core.events import Extraction, InputEvent
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.progress import Position


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall clock, milliseconds since the epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Extractor(Protocol):
    """How an event becomes readings. Pure."""

    def extract(self, event: InputEvent) -> Extraction:
        """Raises UndeliverableError when the event as a whole can't be read."""
        ...


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    shard: int
    key: bytes
    claim: bytes
    ttl_ms: int
    """Of the claim while it is unconfirmed."""


class ClaimStore(Protocol):
    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        """For each request, in order: None where the key was free and is now claimed, else the claim that holds it.

        Guarantee: of all callers, for ever so many calls, one origin holds a key until its claim expires. A duplicate's
        replica bit is added to the claim it finds. An unconfirmed claim of a hub incarnation that is not among `live`
        counts as free: its winner can't be read again. Idempotent: a repeated call finds its own claim. An ambiguous
        failure is repaired by calling again.
        """
        ...

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        """Mark claims as published and keep them for `ttl_ms`. Returns how many were no longer held by their origin.

        Only if the origin still owns the claim: a claim lost to another origin is not an error, and one that is gone is
        written again. Idempotent.
        """
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...

    async def replica_number(self, group: str, replica: str) -> int:
        """The replica's bit in claims: allotted once for each group and name, for good. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class HubInfo:
    incarnation: int
    """See core/claims.py: another one when the hub was created anew."""
    partition_ids: list[str]


@dataclass(frozen=True, slots=True)
class PartitionState:
    first_sequence_number: int
    last_sequence_number: int
    """-1 while nothing was ever enqueued."""
    last_offset: str
    last_enqueued_ms: int


@dataclass(frozen=True, slots=True)
class StartPosition:
    """Where reading starts, by one of these.

    `offset` ("-1": the beginning) and `sequence_number` are those of the last finished event.
    """

    offset: str | None = None
    sequence_number: int | None = None
    enqueued_ms: int | None = None

    def __str__(self) -> str:
        if self.offset is not None:
            return f"behind offset {self.offset}"
        if self.sequence_number is not None:
            return f"behind sequence number {self.sequence_number}"
        return f"at enqueued time {self.enqueued_ms} ms"


class PartitionReader(Protocol):
    """Events of one partition, in order. At least once: after a reconnect some may come again."""

    async def read(self, max_wait_seconds: float) -> list[InputEvent]:
        """The next events, or none when nothing came in time. Raises UnavailableError when this reader is at its end, for
        instance because another owner took the partition; open a new one."""
        ...

    def close(self) -> None:
        """Stop receiving. Returns at once; the hub's `close` waits for what is under way."""
        ...


class InputHub(Protocol):
    async def info(self) -> HubInfo: ...

    async def partition_state(self, partition_id: str) -> PartitionState: ...

    def open(self, partition_id: str, start: StartPosition, owner_level: int) -> PartitionReader:
        """Read from `start`. A reader with an equal or higher owner level ends the others of this consumer group."""
        ...

    async def close(self) -> None: ...


class Publisher(Protocol):
    """Sends to a hub."""

    async def partition_ids(self) -> list[str]: ...

    async def publish(self, partition_id: str, events: Sequence[OutgoingEvent]) -> int:
        """Send the first events, as many as fit into one message, and return how many: they are acknowledged, in order.

        Raises UndeliverableError when the first can never be sent (then none was), and UnavailableError otherwise; an
        ambiguous one means that any of them may be in the hub. Not idempotent.
        """
        ...

    async def close(self) -> None: ...


class Checkpoints(Protocol):
    """Finished positions and partition ownership, of one input hub and consumer group."""

    async def load(self) -> dict[str, Position]:
        """By partition id."""
        ...

    async def save(self, partition_id: str, position: Position) -> None:
        """Idempotent. Unconditional: only the owner of a partition may call it."""
        ...

    async def ownerships(self) -> list[Ownership]: ...

    async def claim_ownership(self, ownerships: Sequence[Ownership]) -> list[Ownership]:
        """Take or renew those whose etag is still the stored one; returns them with their new etags."""
        ...

    async def close(self) -> None: ...
