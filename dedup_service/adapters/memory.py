"""In-memory doubles of the ports: the same laws as the real adapters (tests/contract), without network or time.

Unit tests and the simulation run the real pipeline on them.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dedup_service.core.balancing import Ownership
from dedup_service.core.claims import CONFIRMED, OTHER_REPLICA, UNCONFIRMED, pack, unpack
from dedup_service.core.events import InputEvent
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.progress import Position
from dedup_service.errors import UnavailableError, UndeliverableError
from dedup_service.ports import ClaimRequest, HubInfo, PartitionState, StartPosition


@dataclass(slots=True)
class MemoryClock:
    """Time passes only where somebody sleeps."""

    ms: int = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)
        await asyncio.sleep(0)


@dataclass(slots=True)
class MemoryClaims:
    clock: MemoryClock
    stored: dict[tuple[int, bytes], tuple[bytes, int]] = field(default_factory=dict)
    """(shard, key) → (claim, expiry in ms)"""
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    def _find(self, request: ClaimRequest) -> tuple[bytes, int] | None:
        held = self.stored.get((request.shard, request.key))
        return held if held is not None and held[1] > self.clock.now_ms() else None

    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        return [self._claim(request, live) for request in requests]

    def _claim(self, request: ClaimRequest, live: Sequence[int]) -> bytes | None:
        held = self._find(request)
        if held is None or (held[0][0] == UNCONFIRMED and unpack(held[0]).origin.incarnation not in live):
            self.stored[request.shard, request.key] = (request.claim, self.clock.now_ms() + request.ttl_ms)
            return None
        claim, expiry = held
        found = unpack(claim)
        merged = replace(found, replicas=found.replicas | unpack(request.claim).replicas)
        self.stored[request.shard, request.key] = (pack(merged), expiry)
        return claim

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        lost = 0
        for request in requests:
            held = self._find(request)
            claim = held[0] if held is not None else request.claim
            if unpack(claim).origin == unpack(request.claim).origin:
                confirmed = bytes([CONFIRMED]) + claim[1:]
                self.stored[request.shard, request.key] = (confirmed, self.clock.now_ms() + ttl_ms)
            else:
                lost += 1
        return lost

    async def replica_number(self, group: str, replica: str) -> int:
        if (group, replica) not in self.numbers:
            taken = sum(name == group for name, _ in self.numbers)
            if taken >= OTHER_REPLICA:
                return OTHER_REPLICA
            self.numbers[group, replica] = taken
        return self.numbers[group, replica]

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        return


@dataclass(slots=True, eq=False)
class MemoryReader:
    hub: MemoryHub
    partition_id: str
    position: int

    async def read(self, max_wait_seconds: float) -> list[InputEvent]:
        if self not in self.hub.readers:
            raise UnavailableError("the input hub", "the reader was disconnected")
        events = self.hub.partitions[self.partition_id][self.position : self.position + self.hub.batch_size]
        self.position += len(events)
        if not events:
            await self.hub.clock.sleep(max_wait_seconds)
        return events

    def close(self) -> None:
        self.hub.readers = [reader for reader in self.hub.readers if reader is not self]


@dataclass(slots=True)
class MemoryHub:
    """An input hub. Sequence numbers are places in the list, and offsets their text."""

    clock: MemoryClock
    partitions: dict[str, list[InputEvent]]
    incarnation: int = 1
    batch_size: int = 100
    readers: list[MemoryReader] = field(default_factory=list)

    def lose_readers(self) -> None:
        """As when the connection drops."""
        self.readers.clear()

    def append(self, event: InputEvent) -> InputEvent:
        """With the number, offset and time that a hub would give it."""
        log = self.partitions[event.partition_id]
        stored = replace(event, sequence_number=len(log), offset=str(len(log)), enqueued_ms=self.clock.now_ms())
        log.append(stored)
        return stored

    async def info(self) -> HubInfo:
        return HubInfo(self.incarnation, sorted(self.partitions, key=int))

    async def partition_state(self, partition_id: str) -> PartitionState:
        log = self.partitions[partition_id]
        last_ms = log[-1].enqueued_ms if log else 0
        return PartitionState(0, len(log) - 1, str(len(log) - 1), last_ms)

    def open(self, partition_id: str, start: StartPosition, owner_level: int) -> MemoryReader:
        log = self.partitions[partition_id]
        position = 0
        if start.offset is not None:
            position = int(start.offset) + 1
        elif start.sequence_number is not None:
            position = start.sequence_number + 1
        elif start.enqueued_ms is not None:
            earliest = start.enqueued_ms
            position = next((i for i, event in enumerate(log) if event.enqueued_ms >= earliest), len(log))
        reader = MemoryReader(self, partition_id, position)
        self.readers.append(reader)
        return reader

    async def close(self) -> None:
        return


@dataclass(slots=True)
class MemoryPublisher:
    partitions: dict[str, list[OutgoingEvent]]
    max_bytes: int = 1024 * 1024
    failures: list[UnavailableError] = field(default_factory=list)
    """Raised by the next sends, one each; an ambiguous one is raised after the events were stored."""

    @property
    def events(self) -> list[OutgoingEvent]:
        return [event for log in self.partitions.values() for event in log]

    async def partition_ids(self) -> list[str]:
        return sorted(self.partitions, key=int)

    async def publish(self, partition_id: str, events: Sequence[OutgoingEvent]) -> int:
        await asyncio.sleep(0)
        if len(events[0].body) > self.max_bytes:
            raise UndeliverableError("too-large", f"{len(events[0].body)} bytes")
        failure = self.failures.pop(0) if self.failures else None
        if failure is None or failure.ambiguous:
            self.partitions[partition_id] += [event for event in events if len(event.body) <= self.max_bytes][:1]
        if failure is not None:
            raise failure
        return 1

    async def close(self) -> None:
        return


@dataclass(slots=True)
class MemoryCheckpoints:
    positions: dict[str, Position] = field(default_factory=dict)
    owners: dict[str, Ownership] = field(default_factory=dict)

    async def load(self) -> dict[str, Position]:
        return dict(self.positions)

    async def save(self, partition_id: str, position: Position) -> None:
        self.positions[partition_id] = position

    async def ownerships(self) -> list[Ownership]:
        return list(self.owners.values())

    async def claim_ownership(self, ownerships: Sequence[Ownership]) -> list[Ownership]:
        taken: list[Ownership] = []
        for wanted in ownerships:
            stored = self.owners.get(wanted.partition_id)
            if (stored.etag if stored else None) == wanted.etag:
                self.owners[wanted.partition_id] = replace(wanted, etag=uuid.uuid4().hex)
                taken.append(self.owners[wanted.partition_id])
        return taken

    async def close(self) -> None:
        return
