"""The partitioned log behind both faces of the hub: append, positions, retention.

A log belongs to one event loop, and nothing here waits. Readers fetch a slice and register a callback for new entries.
"""

from __future__ import annotations

import time
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from sandbox.amqp.codec import Symbol, Timestamp, decode
from sandbox.amqp.messages import BareMessage, annotated

DEFAULT_RETENTION_SECONDS = 86_400.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class BeyondTheEndError(Exception):
    """A start position behind the last event there ever was, such as a checkpoint of a hub that was recreated."""

    def __init__(self, selector: Selector, last: int) -> None:
        what = selector.by.replace("_", " ")
        super().__init__(f"The supplied {what} '{selector.value}' is invalid. The last {what} in the system is '{last}'")


@dataclass(frozen=True, slots=True)
class Entry:
    sequence_number: int
    offset: int
    enqueued_ms: int
    message: bytes
    """The encoded message with the sender's annotations and the hub's, ready to be delivered."""
    delivery_annotations: Mapping[Any, Any] = field(default_factory=dict)
    """The sender's own, which precede the message."""


@dataclass(slots=True)
class Partition:
    """Sequence numbers are gapless from 0; offsets are byte positions: ordered but not dense, as in Event Hubs."""

    id: str
    retention_seconds: float = DEFAULT_RETENTION_SECONDS
    entries: list[Entry] = field(default_factory=list)
    next_sequence_number: int = 0
    next_offset: int = 0
    last_offset: int = -1
    """Of the last event there ever was, as `next_sequence_number - 1` is its number: retention does not take it back."""
    last_enqueued_ms: int = 0
    listeners: set[Callable[[], None]] = field(default_factory=set)

    @property
    def first_sequence_number(self) -> int:
        return self.entries[0].sequence_number if self.entries else self.next_sequence_number

    @property
    def last_sequence_number(self) -> int:
        return self.next_sequence_number - 1

    def append(self, message: BareMessage, annotations: Mapping[str, Any], at_ms: int) -> Entry:
        enqueued_ms = max(at_ms, self.last_enqueued_ms)
        system = {
            "x-opt-sequence-number": self.next_sequence_number,
            "x-opt-offset": str(self.next_offset),
            "x-opt-enqueued-time": Timestamp(enqueued_ms),
        }
        encoded = annotated({**message.annotations, **annotations, **system}, message.bare)
        entry = Entry(self.next_sequence_number, self.next_offset, enqueued_ms, encoded, message.delivery_annotations)
        self.entries.append(entry)
        self.last_offset = self.next_offset
        self.next_sequence_number += 1
        self.next_offset += len(encoded)
        self.last_enqueued_ms = enqueued_ms
        return entry

    def read(self, sequence_number: int, limit: int) -> list[Entry]:
        """Return up to `limit` entries from `sequence_number` on, or from the oldest one still kept if that is later."""
        start = max(0, sequence_number - self.first_sequence_number)
        return self.entries[start : start + limit]

    def position(self, selector: Selector) -> int:
        """The sequence number at which a receiver with this start position begins.

        Raises BeyondTheEndError; a time beyond the end is none, and means the end.
        """
        if selector.at_end:
            return self.next_sequence_number
        if selector.by != "enqueued_ms" and selector.value > (last := getattr(self, f"last_{selector.by}")):
            raise BeyondTheEndError(selector, last)
        bisect = bisect_left if selector.inclusive else bisect_right
        index = bisect(self.entries, selector.value, key=attrgetter(selector.by))
        return self.entries[index].sequence_number if index < len(self.entries) else self.next_sequence_number

    def expire(self, at_ms: int) -> None:
        oldest = at_ms - int(self.retention_seconds * 1000)
        if self.entries and self.entries[0].enqueued_ms < oldest:
            del self.entries[: bisect_left(self.entries, oldest, key=attrgetter("enqueued_ms"))]

    def notify(self) -> None:
        for listener in tuple(self.listeners):
            listener()


@dataclass(frozen=True, slots=True)
class Selector:
    """A start position: `by` names an attribute of Entry."""

    by: str = "offset"
    value: int = -1
    inclusive: bool = False
    at_end: bool = False


@dataclass(slots=True)
class Faults:
    """Faults in sending to a hub, which tests and drills set."""

    refuse: str | None = None
    """Reject every send with this AMQP condition, such as `com.microsoft:server-busy`."""
    lost_acks: int = 0
    """Number of upcoming sends that are applied but never acknowledged."""
    late_ack_seconds: float = 0.0
    """How long acknowledgements are held back."""
    late_ack_share: float = 1.0
    """The share of sends, chosen at random, whose acknowledgements are late."""
    on_late_ack: Callable[[int], None] | None = None
    """Called when a send was applied and its acknowledgement is held back, with the port through which the sender came."""
    dropped_transfers: int = 0
    """Number of upcoming transfers at which the connection is dropped before they are applied."""


@dataclass(slots=True)
class Hub:
    """An event hub, or the telemetry endpoint of an IoT Hub."""

    name: str
    partitions: list[Partition]
    consumer_groups: set[str]
    max_message_size: int
    created_ms: int
    faults: Faults = field(default_factory=Faults)
    _round_robin: int = 0

    @classmethod
    def create(
        cls,
        name: str,
        partition_count: int,
        consumer_groups: set[str],
        *,
        retention_seconds: float = DEFAULT_RETENTION_SECONDS,
        max_message_size: int = 1024 * 1024,
    ) -> Hub:
        partitions = [Partition(str(i), retention_seconds) for i in range(partition_count)]
        return cls(name, partitions, {"$Default", *consumer_groups}, max_message_size, now_ms())

    def partition(self, partition_id: str) -> Partition | None:
        return next((p for p in self.partitions if p.id == partition_id), None)

    def append(
        self,
        messages: list[BareMessage],
        *,
        partition: Partition | None = None,
        annotations: Mapping[str, Any] | None = None,
        partition_key: str | None = None,
    ) -> Partition:
        """Append all messages to one partition: the given one, the key's, or the next in turn."""
        key = partition_key or next((_partition_key(m) for m in messages if _partition_key(m)), None)
        if partition is None:
            partition = self._by_key(key) if key else self._next()
        at_ms = now_ms()
        for message in messages:
            own = {"x-opt-partition-key": key} if key and partition_key is None else {}
            partition.append(message, {**(annotations or {}), **own}, at_ms)
        partition.notify()
        return partition

    def _by_key(self, key: str) -> Partition:
        return self.partitions[zlib.crc32(key.encode()) % len(self.partitions)]

    def _next(self) -> Partition:
        self._round_robin = (self._round_robin + 1) % len(self.partitions)
        return self.partitions[self._round_robin]


def _partition_key(message: BareMessage) -> str | None:
    encoded = message.annotations.get(Symbol("x-opt-partition-key"))
    key = decode(encoded)[0] if encoded is not None else None
    return key if isinstance(key, str) and key else None
