"""In-memory doubles of the ports: the same laws as the real adapters (tests/contract), without network or real time.

Unit tests and the simulation run the real pipeline on them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import CONFIRMED, OTHER_REPLICA, RESTORED, Claim, pack, unpack
from dedup_service.core.events import InputEvent
from dedup_service.core.leases import PRESENT, EndOffsets, Lease, LeaseRecord, Presence, Renewal, all_lost
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.progress import Position
from dedup_service.errors import Dependency, DependencyKind, UnavailableError, UndeliverableError
from dedup_service.ports.clock import Clock
from dedup_service.ports.hubs import HubInfo, PartitionState, Permit, StartPosition
from tests.doubles.ledger import Copy, MemoryLedger, copies_of

INPUT_HUB = Dependency(DependencyKind.INPUT_HUB)


@dataclass(slots=True)
class MemoryClock:
    """A clock on which time passes only while something sleeps, or a test lets it."""

    ms: int = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def pass_by(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)

    async def sleep(self, seconds: float) -> None:
        self.pass_by(seconds)
        await asyncio.sleep(0)


@dataclass(slots=True)
class MemoryClaims:
    clock: Clock
    stored: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    """key → (claim, expiry in ms)"""
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    term: int = 0
    ledger: MemoryLedger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self)

    def _find(self, copy: Copy) -> tuple[bytes, int] | None:
        held = self.stored.get(copy.key)
        return held if held is not None and held[1] > self.clock.now_ms() else None

    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        return [self._claim(copy, live) for request in requests for copy in copies_of(request)]

    def _claim(self, copy: Copy, live: Sequence[int]) -> bytes | None:
        held, expiry = self._find(copy), self.clock.now_ms() + copy.ttl_ms
        mine = replace(unpack(copy.claim), term=self.term)
        if held is None:
            self.stored[copy.key] = (pack(mine), expiry)
            self.ledger.count(copy, None)
            return None
        claim, held_until = held
        holder = unpack(claim)
        merged = holder.replicas | mine.replicas
        if holder.origin != mine.origin:
            self.ledger.count(copy, holder)
        if self.is_orphan(holder, live):
            self.stored[copy.key] = (pack(replace(mine, replicas=merged)), expiry)
            return claim if holder.origin == mine.origin else None
        if self._is_kept_by(holder, mine):
            held_until = max(held_until, self.clock.now_ms() + copy.confirmed_ttl_ms)
        self.stored[copy.key] = (pack(replace(holder, replicas=merged)), held_until)
        return claim

    def is_orphan(self, holder: Claim, live: Sequence[int]) -> bool:
        is_of_this_term = holder.term == self.term
        return not holder.confirmed and (not is_of_this_term or (bool(live) and holder.origin.incarnation not in live))

    @staticmethod
    def _is_kept_by(holder: Claim, mine: Claim) -> bool:
        """Whether this copy is a repetition of what is published."""
        may_repeat = holder.restored or bool(holder.replicas & mine.replicas)
        return holder.confirmed and holder.origin != mine.origin and may_repeat

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        return [self._confirm(copy, ttl_ms) for request in requests for copy in copies_of(request)].count(False)

    def _confirm(self, copy: Copy, ttl_ms: int) -> bool:
        """Whether the copy's own origin holds the claim."""
        held = self._find(copy)
        claim = held[0] if held is not None else copy.claim
        if unpack(claim).origin != unpack(copy.claim).origin:
            return False
        state = RESTORED if claim[0] == RESTORED else CONFIRMED
        self.stored[copy.key] = (bytes([state]) + claim[1:], self.clock.now_ms() + ttl_ms)
        return True

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
            reading = Dependency(DependencyKind.INPUT_HUB_READING, part=self.partition_id)
            raise UnavailableError(reading, "the reader was disconnected", cut_off=True)
        events = self.hub.partitions[self.partition_id][self.position : self.position + self.hub.batch_size]
        if self.hub.deaf:
            events = []
        self.position += len(events)
        if not events:
            await self.hub.clock.sleep(max_wait_seconds)
        return events

    def close(self) -> None:
        self.hub.readers = [reader for reader in self.hub.readers if reader is not self]


@dataclass(slots=True)
class MemoryHub:
    """An input hub. Sequence numbers are indexes into the list, and offsets the same numbers as text."""

    clock: Clock
    partitions: dict[str, list[InputEvent]]
    incarnation: int = 1
    dependency: Dependency = INPUT_HUB
    batch_size: int = 100
    readers: list[MemoryReader] = field(default_factory=list)
    first_kept: int = 0
    """Events before this number have expired."""
    deaf: bool = False
    """Readers stay open but receive nothing."""

    def lose_readers(self) -> None:
        """Disconnects all readers, as when the connection drops."""
        self.readers.clear()

    def append(self, event: InputEvent) -> InputEvent:
        """Stores and returns the event with the number, offset and time that a hub would assign."""
        log = self.partitions[event.partition_id]
        stored = msgspec.structs.replace(
            event, sequence_number=len(log), offset=str(len(log)), enqueued_ms=self.clock.now_ms()
        )
        log.append(stored)
        return stored

    async def info(self, max_age_seconds: float = 0.0) -> HubInfo:
        return HubInfo(self.incarnation, sorted(self.partitions, key=int))

    async def partition_state(self, partition_id: str) -> PartitionState:
        log = self.partitions[partition_id]
        last_ms = log[-1].enqueued_ms if log else 0
        return PartitionState(self.first_kept, len(log) - 1, str(len(log) - 1), last_ms)

    def open(self, partition_id: str, start: StartPosition, owner_level: int | None) -> MemoryReader:
        log = self.partitions[partition_id]
        position = 0
        if start.sequence_number is not None:
            position = start.sequence_number
        elif start.enqueued_ms is not None:
            earliest = start.enqueued_ms
            position = next((i for i, event in enumerate(log) if event.enqueued_ms >= earliest), len(log))
        reader = MemoryReader(self, partition_id, max(position, self.first_kept))
        self.readers.append(reader)
        return reader

    async def close(self) -> None:
        return


@dataclass(slots=True)
class MemoryPublisher:
    """A hub to send to, and its tail. Each message holds one event."""

    partitions: dict[str, list[OutgoingEvent]]
    clock: Clock = field(default_factory=MemoryClock)
    times: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """When each event was enqueued, in ms."""
    max_bytes: int = 1024 * 1024
    timeout_seconds: float = 1.0
    before_send: Callable[[], None] = lambda: None
    """Called at the beginning of each send."""
    expired: int = 0
    """How many events of each partition can no longer be read."""
    refusals: list[UndeliverableError] = field(default_factory=list)
    """Raised by the next sends, one each, before `failures`."""
    failures: list[UnavailableError] = field(default_factory=list)
    """Raised by the next sends, one each; an ambiguous one is raised after the event was stored."""

    @property
    def events(self) -> list[OutgoingEvent]:
        return [event for log in self.partitions.values() for event in log]

    async def partition_ids(self) -> list[str]:
        return sorted(self.partitions, key=int)

    async def open(self, partition_ids: Sequence[str]) -> None:
        pass

    def reopen(self) -> None:
        pass

    async def ends(self) -> dict[str, int]:
        return {partition: len(log) - 1 for partition, log in self.partitions.items()}

    async def publish(self, partition_id: str, events: Sequence[OutgoingEvent], permit: Permit | None = None) -> int:
        await asyncio.sleep(0)
        self.before_send()
        if len(events[0].body) > self.max_bytes:
            raise UndeliverableError("too-large", f"{len(events[0].body)} bytes")
        if self.refusals:
            raise self.refusals.pop(0)
        if permit is not None:
            permit(self.timeout_seconds)
        failure = self.failures.pop(0) if self.failures else None
        if failure is None or failure.ambiguous:
            self.store(partition_id, events[:1])
        if failure is not None:
            raise failure
        return 1

    def store(self, partition_id: str, events: Sequence[OutgoingEvent]) -> None:
        self.partitions[partition_id] += events
        self.times[partition_id] += [self.clock.now_ms()] * len(events)

    def stored(self, partition_id: str, first: int = 0, count: int | None = None) -> list[InputEvent]:
        """The events as a reader of this hub finds them: `count` of them from number `first` on, or all."""
        part = slice(first, None if count is None else first + count)
        log = zip(self.partitions[partition_id][part], self.times[partition_id][part], strict=True)
        return [
            InputEvent(
                partition_id,
                number,
                str(number),
                at_ms,
                event.body,
                content_type=event.content_type,
                content_encoding=event.content_encoding,
                message_id=event.message_id,
                correlation_id=event.correlation_id,
                application_properties=event.properties,
            )
            for number, (event, at_ms) in enumerate(log, first)
        ]

    async def partition_state(self, partition_id: str) -> PartitionState:
        times = self.times[partition_id]
        first = min(self.expired, len(times))
        return PartitionState(first, len(times) - 1, str(len(times) - 1), times[-1] if times else 0)

    def open_reader(self, partition_id: str, start: StartPosition, *, by_force: bool = False) -> MemoryReader:
        kept = {partition_id: self.stored(partition_id)}
        hub = MemoryHub(self.clock, kept, first_kept=min(self.expired, len(kept[partition_id])))
        return hub.open(partition_id, start, None)

    async def try_reading(self) -> list[str]:
        return []

    async def read(self, partition_id: str, after: int, see: Callable[[int, Mapping[str, Any]], None]) -> int:
        log = self.partitions[partition_id]
        first = max(after + 1, min(self.expired, len(log)))
        for number, event in enumerate(log[first:], first):
            see(number, event.properties)
        return first

    async def close(self) -> None:
        return


@dataclass(slots=True)
class MemoryCheckpoints:
    positions: dict[str, Position] = field(default_factory=dict)

    async def load(self) -> dict[str, Position]:
        return dict(self.positions)

    async def save(self, partition_id: str, position: Position) -> None:
        self.positions[partition_id] = position

    async def close(self) -> None:
        return


@dataclass(slots=True)
class StoredLease:
    epoch: int
    deadline: float
    released: bool = False
    record: bytes | None = None
    generation: int = 0
    """The marker's when it was taken."""
    begun: tuple[int, int] = (0, 0)
    """The epoch of the owner that said so, and how far it may have begun to send."""

    def note_begun(self, lease: Lease) -> None:
        if lease.begun >= 0:
            self.begun = max(self.begun, (lease.epoch, lease.begun))
            lease.begun_is_written(lease.begun)


class AlwaysFirst:
    """A pod that nobody goes before."""

    async def must_wait(self) -> bool:
        return False

    async def observed_until_ms(self) -> int | None:
        return None


@dataclass(slots=True)
class MemoryAtWork:
    """Whose configuration's pods may hold leases, of whatever hub, and until when."""

    configuration: str = ""
    until: float = float("-inf")

    def allows(self, configuration: str, now: float, ttl_seconds: float) -> bool:
        if now < self.until and self.configuration != configuration:
            return False
        self.configuration, self.until = configuration, max(self.until, now + ttl_seconds)
        return True


@dataclass(slots=True)
class MemoryLeases:
    clock: Clock
    partition_ids: list[str]
    ttl_seconds: float = 5.0
    stored: dict[str, StoredLease] = field(default_factory=dict)
    pods: dict[str, float] = field(default_factory=dict)
    progressed: dict[str, float] = field(default_factory=dict)
    known: dict[int, frozenset[str]] = field(default_factory=dict)
    sample: EndOffsets | None = None
    sampled_at: dict[float, float] = field(default_factory=dict)
    recent_until: float = float("-inf")
    began: int | None = None
    at_work: MemoryAtWork = field(default_factory=MemoryAtWork)

    async def began_ms(self, now_ms: int) -> int:
        self.began = now_ms if self.began is None else self.began
        return self.began

    def add_partitions(self, partition_ids: Sequence[str]) -> None:
        self.partition_ids = [*self.partition_ids, *partition_ids]

    async def known_at_first(self, incarnation: int, partition_ids: Sequence[str]) -> frozenset[str]:
        return self.known.setdefault(incarnation, frozenset(partition_ids))

    def _is_free(self, partition_id: str) -> bool:
        lease = self.stored.get(partition_id)
        return lease is None or lease.released or lease.deadline <= self.clock.monotonic()

    async def renew(
        self, pod_id: str, held: Sequence[Lease], presence: Presence = PRESENT, configuration: str = ""
    ) -> Renewal:
        now = self.clock.monotonic()
        if not self.at_work.allows(configuration, now, self.ttl_seconds):
            return all_lost(held, must_wait=True)
        if presence.progressed_ago is not None:
            self.progressed[pod_id] = now - presence.progressed_ago
        others = max((at for pod, at in self.progressed.items() if pod != pod_id), default=float("-inf"))
        self.pods[pod_id] = now if presence.takes_part else float("-inf")
        self.pods = {pod: seen for pod, seen in self.pods.items() if now - seen < self.ttl_seconds}
        lost = [lease.partition_id for lease in held if not self._renew(lease, now)]
        mine = {lease.partition_id for lease in held}
        free = [p for p in self.partition_ids if p not in mine and self._is_free(p)]
        return Renewal(sorted(self.pods), free, lost, self.sample, now - others)

    def _renew(self, lease: Lease, now: float) -> bool:
        stored = self.stored.get(lease.partition_id)
        if stored is None or stored.epoch != lease.epoch:
            lease.is_lost = True
            return False
        stored.deadline = now + self.ttl_seconds
        if lease.record is not None:
            stored.record = lease.record.encode()
            lease.written = lease.record
        stored.note_begun(lease)
        lease.renewed(now, self.ttl_seconds)
        return True

    async def take(self, pod_id: str, partition_id: str, generation: int = 0, configuration: str = "") -> Lease | None:
        if not self._is_free(partition_id):
            return None
        if not self.at_work.allows(configuration, self.clock.monotonic(), self.ttl_seconds):
            return None
        old = self.stored.get(partition_id)
        record = old.record if old else None
        epoch = max(old.epoch + 1 if old else 1, self.clock.now_ms())
        deadline = self.clock.monotonic() + self.ttl_seconds
        is_current = old is not None and 0 < old.generation == generation
        self.stored[partition_id] = StoredLease(epoch, deadline, record=record, generation=generation)
        inherited = LeaseRecord.decode(record) if record else None
        begun = old.begun[1] if old and old.begun[0] == old.epoch else None
        lease = Lease(partition_id, epoch, deadline, inherited, inherited_is_current=is_current, inherited_begun=begun)
        self.stored[partition_id].begun = old.begun if old else (0, 0)
        return lease

    async def write(self, lease: Lease, record: LeaseRecord, *, release: bool = False) -> bool:
        stored = self.stored.get(lease.partition_id)
        is_mine = stored is not None and stored.epoch == lease.epoch
        if stored is not None and is_mine:
            stored.record, stored.released = record.encode(), release
            lease.written = record
            stored.note_begun(lease)
        lease.is_lost = lease.is_lost or not is_mine or release
        return is_mine

    async def leave(self, pod_id: str) -> None:
        self.pods.pop(pod_id, None)

    async def may_sample(self, interval_seconds: float) -> bool:
        due = self.clock.monotonic() - self.sampled_at.get(interval_seconds, float("-inf")) >= interval_seconds
        if due:
            self.sampled_at[interval_seconds] = self.clock.monotonic()
        return due

    async def save_sample(self, sample: EndOffsets, recent_seconds: float) -> None:
        self.sample, self.recent_until = dict(sample), self.clock.monotonic() + recent_seconds

    async def recent_sample(self) -> EndOffsets | None:
        return self.sample if self.clock.monotonic() < self.recent_until else None
