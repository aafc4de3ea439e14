"""The input hub, and the hubs that are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dedup_service.core.events import InputEvent
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.progress import Position
from dedup_service.errors import Dependency


@dataclass(frozen=True, slots=True)
class HubInfo:
    incarnation: int
    """Changes when the hub is recreated; see `incarnation_of` in core/claims.py."""
    partition_ids: list[str]


@dataclass(frozen=True, slots=True)
class PartitionState:
    first_sequence_number: int
    last_sequence_number: int
    """-1 while nothing was ever enqueued."""
    last_offset: str
    last_enqueued_ms: int

    def has_more_than(self, finished: Position | None) -> bool:
        """Whether the hub keeps events behind this position."""
        if finished is not None and finished.is_a_time and self.last_enqueued_ms <= finished.enqueued_ms:
            return False
        following = 0 if finished is None else finished.sequence_number + 1
        return self.last_sequence_number >= max(self.first_sequence_number, following)

    def went_back(self, finished: Position) -> bool:
        """Whether the numbers start over behind an event that was finished: the hub ends before it, and yet has later
        events."""
        return self.last_sequence_number < finished.sequence_number and self.last_enqueued_ms > finished.enqueued_ms > 0


@dataclass(frozen=True, slots=True)
class StartPosition:
    """Where reading starts: at one of these, or at the beginning of what the hub keeps.

    `sequence_number` is that of the last finished event, which is delivered again as a proof that the number still belongs
    to it. An offset would not do: in another log it may lie between two events, and those before it would be left out.
    """

    sequence_number: int | None = None
    enqueued_ms: int | None = None

    def __str__(self) -> str:
        if self.sequence_number is not None:
            return f"at sequence number {self.sequence_number}"
        return "at the beginning" if self.enqueued_ms is None else f"at enqueued time {self.enqueued_ms} ms"


class PartitionReader(Protocol):
    """Delivers the events of one partition in order, at least once: after a reconnect some may be delivered again."""

    async def read(self, max_wait_seconds: float) -> list[InputEvent]:
        """The next events; empty when none arrived in time. Raises UnavailableError when this reader has ended, for instance
        because another owner took the partition; then open a new one."""
        ...

    def close(self) -> None:
        """Stops receiving. Returns at once; the hub's `close` waits for what is under way."""
        ...


class InputHub(Protocol):
    @property
    def dependency(self) -> Dependency:
        """Named in the hub's errors; those of its readers are of the kind INPUT_HUB_READING."""
        ...

    async def info(self, max_age_seconds: float = 0.0) -> HubInfo:
        """The hub's answer to a question that was asked at most so long ago, and so not before this call unless an age is
        given."""
        ...

    async def partition_state(self, partition_id: str) -> PartitionState: ...

    def open(self, partition_id: str, start: StartPosition, owner_level: int | None) -> PartitionReader:
        """Reads from `start`. A reader with an equal or higher owner level ends the others in this consumer group. One
        without ends nobody, and is refused (ShutOutError) where another one has a level."""
        ...

    async def close(self) -> None: ...


Permit = Callable[[float], float]
"""Called with the time-out of a send, in seconds; returns for how many seconds one may connect for it, and may raise."""


class Publisher(Protocol):
    """Sends to a hub."""

    async def partition_ids(self) -> list[str]: ...

    async def open(self, partition_ids: Sequence[str]) -> None:
        """Connects in advance, so that the first send does not wait for it. Failures are left to that send."""
        ...

    def reopen(self) -> None:
        """Begins to connect again where a connection over which was sent is cut off. Failures are left to the next send."""
        ...

    async def ends(self) -> dict[str, int]:
        """The last enqueued sequence number of every partition, now; -1 where nothing was ever sent."""
        ...

    async def publish(self, partition_id: str, events: Sequence[OutgoingEvent], permit: Permit | None = None) -> int:
        """Sends the first events, as many as fit into one message, and returns how many: they are acknowledged, in order.

        `permit` is called before connecting, and after all waiting, right before the attempt. After the time-out nothing of
        this attempt is written any more.
        Raises UndeliverableError when the first can never be sent (then none was), and UnavailableError otherwise; an
        ambiguous one means that any of them may be in the hub. Not idempotent.
        """
        ...

    async def close(self) -> None: ...


class CleanTail(Protocol):
    """Reads the end of the clean stream back."""

    async def try_reading(self) -> list[str]:
        """Tries whether `read` would succeed, without disturbing anybody. Returns what other readers keep this one from,
        whom `read` would end. Raises ConfigurationError when a consumer group or a right is missing."""
        ...

    async def read(self, partition_id: str, after: int, see: Callable[[int, Mapping[str, Any]], None]) -> int:
        """Shows every event behind sequence number `after` that the hub still keeps, up to the end at the time of the call:
        its sequence number and its application properties. It holds no more of them than the hub sends in advance.

        Returns the sequence number from which on all were shown, which is `after` + 1 unless some have expired."""
        ...

    async def partition_state(self, partition_id: str) -> PartitionState: ...

    def open_reader(self, partition_id: str, start: StartPosition, *, by_force: bool = False) -> PartitionReader:
        """Reads on from `start`. A reader that is shut out by others (ShutOutError) can be opened `by_force`."""
        ...

    async def close(self) -> None: ...
