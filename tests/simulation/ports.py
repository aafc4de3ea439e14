"""The ports of one life of a pod: each call goes over a simulated network, in which requests and replies are lost."""

from __future__ import annotations

import asyncio
import dataclasses
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import structs

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import claim_shards
from dedup_service.core.events import InputEvent
from dedup_service.core.leases import PRESENT, EndOffsets, Lease, LeaseRecord, Presence, Renewal, all_lost, still_held
from dedup_service.core.markers import Marker, ReadBack, RestoredEvent
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.progress import Position
from dedup_service.errors import Dependency, ForgottenError, UnavailableError
from dedup_service.ports.hubs import HubInfo, PartitionState, Permit, StartPosition
from tests.doubles.markers import StoredMarker
from tests.doubles.memory import (
    MemoryPublisher,
)
from tests.simulation.scenario import (
    ALL,
    CALL_SECONDS,
    SEND_TIMEOUT_SECONDS,
    Input,
)
from tests.support.shared import (
    CHECKPOINTS,
    CLEAN_HUB,
    CLEAN_HUB_READING,
    INPUT_HUB,
    INPUT_HUB_READING,
)

if TYPE_CHECKING:
    from tests.simulation.pods import Process


@dataclass
class SimulatedClaims:
    process: Process

    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        placed = self._placed(requests)
        return await self.process.marked_call(lambda: self.process.world.claims.claim(placed, live), self._shards)

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        placed = self._placed(requests)
        return await self.process.marked_call(lambda: self.process.world.claims.confirm(placed, ttl_ms), self._shards)

    @property
    def _shards(self) -> Sequence[int]:
        return claim_shards(self.process.pod.shards)

    def _placed(self, requests: Sequence[ClaimRequest]) -> list[ClaimRequest]:
        prefix = self.process.markers.prefix
        return [structs.replace(request, keys=[prefix + key for key in request.keys]) for request in requests]

    async def replica_number(self, group: str, replica: str) -> int:
        return await self.process.world.claims.replica_number(group, replica)

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        return


@dataclass
class SimulatedLeases:
    process: Process
    input: Input = ALL

    def add_partitions(self, partition_ids: Sequence[str]) -> None:
        self.process.world.leases.add_partitions(partition_ids)

    async def known_at_first(self, incarnation: int, partition_ids: Sequence[str]) -> frozenset[str]:
        return await self.process.call(lambda: self.process.world.leases.known_at_first(incarnation, partition_ids))

    async def renew(self, pod_id: str, held: Sequence[Lease], presence: Presence = PRESENT) -> Renewal:
        leases, mine = self.process.world.leases, still_held(held, self.process.markers.tenure)
        configuration = self.process.configuration
        try:
            renewal = await self.process.marked_call(
                lambda: leases.renew(pod_id, mine, presence, configuration), is_fenced=True
            )
        except ForgottenError:
            return all_lost(held)
        lost = [lease.partition_id for lease in held if lease.is_lost]
        return dataclasses.replace(renewal, free=[p for p in renewal.free if p in self.input.partitions], lost=lost)

    async def take(self, pod_id: str, partition_id: str) -> Lease | None:
        leases, tenure, configuration = self.process.world.leases, self.process.markers.tenure, self.process.configuration
        try:
            lease = await self.process.marked_call(
                lambda: leases.take(pod_id, partition_id, tenure[0], configuration), is_fenced=True
            )
        except ForgottenError:
            return None
        if lease is not None:
            lease.tenure = tenure
        return lease

    async def write(self, lease: Lease, record: LeaseRecord, *, release: bool = False) -> bool:
        leases = self.process.world.leases
        if not still_held([lease], self.process.markers.tenure):
            return False
        try:
            return await self.process.marked_call(lambda: leases.write(lease, record, release=release), is_fenced=True)
        except ForgottenError:
            lease.is_lost = True
            return False

    async def began_ms(self, now_ms: int) -> int:
        return await self.process.call(lambda: self.process.world.leases.began_ms(now_ms))

    async def leave(self, pod_id: str) -> None:
        await self.process.call(lambda: self.process.world.leases.leave(pod_id))

    async def may_sample(self, interval_seconds: float) -> bool:
        return await self.process.call(lambda: self.process.world.leases.may_sample(interval_seconds))

    async def save_sample(self, sample: EndOffsets, recent_seconds: float) -> None:
        await self.process.call(lambda: self.process.world.leases.save_sample(sample, recent_seconds))

    async def recent_sample(self) -> EndOffsets | None:
        return await self.process.call(self.process.world.leases.recent_sample)


@dataclass
class SimulatedCheckpoints:
    process: Process

    async def load(self) -> dict[str, Position]:
        return await self.process.call(self.process.world.checkpoints.load, CHECKPOINTS)

    async def save(self, partition_id: str, position: Position) -> None:
        store = self.process.world.checkpoints
        await self.process.call(lambda: store.save(partition_id, position), CHECKPOINTS)

    async def close(self) -> None:
        return


@dataclass
class SimulatedPublisher:
    """A send takes effect before its timeout or never; the process may die or freeze at any other moment."""

    process: Process
    hub: MemoryPublisher

    async def open(self, partition_ids: Sequence[str]) -> None:
        await self.hub.open(partition_ids)

    def reopen(self) -> None:
        pass

    async def partition_ids(self) -> list[str]:
        return await self.hub.partition_ids()

    async def ends(self) -> dict[str, int]:
        return await self.process.call(self.hub.ends, CLEAN_HUB)

    async def publish(self, partition_id: str, events: Sequence[OutgoingEvent], permit: Permit | None = None) -> int:
        process, world = self.process, self.process.world
        await process.pause(world.scenario.queueing_seconds)
        if permit is not None:
            permit(SEND_TIMEOUT_SECONDS)
        await asyncio.sleep(world.rng.random() * world.rng.choice([0.002, 0.9 * SEND_TIMEOUT_SECONDS]))
        if process.life != process.pod.life and world.rng.random() < 0.5:
            raise asyncio.CancelledError  # killed before the bytes were sent; otherwise the hub still gets them
        count = world.rng.randint(1, len(events))
        fate = world.rng.random() if world.in_trouble else 1.0
        if fate < world.scenario.failed_sends:
            raise UnavailableError(CLEAN_HUB, "timed out", ambiguous=True)
        if fate < 1.5 * world.scenario.failed_sends:
            raise UnavailableError(CLEAN_HUB, "busy")
        self.hub.store(partition_id, events[:count])
        await process.pause()
        if fate < 2.5 * world.scenario.failed_sends:
            raise UnavailableError(CLEAN_HUB, "not acknowledged", ambiguous=True)
        if world.in_trouble and world.rng.random() < world.scenario.defects:
            raise ArithmeticError("a defect of a client library, after the send")
        return count

    async def try_reading(self) -> list[str]:
        return []

    async def read(self, partition_id: str, after: int, see: Callable[[int, Mapping[str, Any]], None]) -> int:
        return await self.process.call(lambda: self.hub.read(partition_id, after, see), CLEAN_HUB_READING)

    async def partition_state(self, partition_id: str) -> PartitionState:
        return await self.process.call(lambda: self.hub.partition_state(partition_id), CLEAN_HUB_READING)

    def open_reader(self, partition_id: str, start: StartPosition, *, by_force: bool = False) -> SimulatedTailReader:
        return SimulatedTailReader(self.process, self.hub, partition_id, start)

    async def close(self) -> None:
        return


@dataclass
class SimulatedTailReader:
    """A reader of the clean stream."""

    process: Process
    hub: MemoryPublisher
    partition_id: str
    start: StartPosition
    position: int | None = None

    async def read(self, max_wait_seconds: float) -> list[InputEvent]:
        process, world = self.process, self.process.world
        await process.pause(0.2)
        if world.in_trouble and world.rng.random() < world.scenario.dropped_readers:
            raise UnavailableError(CLEAN_HUB_READING, "connection lost")
        if self.position is None:
            first = bisect_left(self.hub.times[self.partition_id], self.start.enqueued_ms or 0)
            self.position = max(first, self.hub.expired)
        events = self.hub.stored(self.partition_id, self.position, world.rng.randint(1, 8))
        self.position += len(events)
        if not events:
            await asyncio.sleep(max_wait_seconds)
        return events

    def close(self) -> None:
        return


@dataclass
class SimulatedMarkers:
    process: Process

    @property
    def are_ready(self) -> bool:
        return self.process.markers.are_ready

    async def look(self) -> list[Marker]:
        markers = self.process.markers

        async def look_at() -> dict[int, StoredMarker]:
            return markers.look_at()

        ending = await self.process.call(markers.agree)
        for shards in ending:
            await self.process.call(partial(markers.end, shards))
        if ending:
            await self.process.call(lambda: markers.ended(ending))
        return markers.saw(await self.process.call(look_at))

    async def distrust(self) -> None:
        await self.process.call(self.process.markers.distrust)

    async def fence(self, marker: Marker) -> int:
        return await self.process.call(lambda: self.process.markers.fence(marker))

    async def may_read(self, pod_id: str, partition_id: str, seconds: float) -> bool:
        return await self.process.call(lambda: self.process.markers.may_read(pod_id, partition_id, seconds))

    async def restore(self, events: Sequence[RestoredEvent], markers: Collection[Marker]) -> int:
        return await self.process.call(lambda: self.process.markers.restore(events, markers))

    async def note(self, marker: Marker, partition_id: str, read_back: ReadBack, partitions: Collection[str]) -> None:
        await self.process.call(lambda: self.process.markers.note(marker, partition_id, read_back, partitions))


@dataclass
class SimulatedReader:
    process: Process
    partition_id: str
    position: int
    incarnation: int
    failovers: int

    async def read(self, max_wait_seconds: float) -> list[InputEvent]:
        process, world = self.process, self.process.world
        await process.pause(world.slowness[self.partition_id])
        if process.is_cut_off:
            await asyncio.sleep(max_wait_seconds)
            if process.pod.hub_is_silent:
                return []
            raise UnavailableError(INPUT_HUB_READING, "no route")
        if world.in_trouble and world.rng.random() < world.scenario.dropped_readers:
            raise UnavailableError(INPUT_HUB_READING, "connection lost")
        log = world.hub.partitions[self.partition_id]
        if self.failovers != world.failovers:
            raise UnavailableError(INPUT_HUB_READING, "connection lost")
        if self.incarnation != world.hub.incarnation:  # the SDK reconnects by itself and may not notice
            if world.rng.random() < 0.5:
                raise UnavailableError(INPUT_HUB_READING, "connection lost")
            self.incarnation, self.position = world.hub.incarnation, 0
        self.position = max(self.position, world.first_kept(self.partition_id))
        if world.in_trouble and world.rng.random() < world.scenario.redeliveries:
            self.position = max(0, self.position - world.rng.randint(1, 5))
        events = log[self.position : self.position + world.rng.randint(1, world.hub.batch_size)]
        self.position += len(events)
        if not events:
            await asyncio.sleep(max_wait_seconds)
            await process.pause()
        return events

    def close(self) -> None:
        return


@dataclass
class SimulatedHub:
    process: Process
    input: Input = ALL
    dependency: Dependency = INPUT_HUB
    answer: tuple[float, HubInfo] | None = None

    async def info(self, max_age_seconds: float = 0.0) -> HubInfo:
        """As old an answer as is allowed."""
        now = self.process.world.loop.time()
        if self.answer is None or now - self.answer[0] >= max_age_seconds:
            self.answer = now, await self._ask()
        return self.answer[1]

    async def _ask(self) -> HubInfo:
        await self._reach()
        info = await self.process.call(self.process.world.hub.info, INPUT_HUB)
        return HubInfo(info.incarnation + self.input.incarnation, list(self.input.partitions))

    async def _reach(self) -> None:
        if self.process.is_cut_off:
            await asyncio.sleep(CALL_SECONDS)
            raise UnavailableError(INPUT_HUB, "no route")

    async def partition_state(self, partition_id: str) -> PartitionState:
        await self._reach()
        return await self.process.call(lambda: self.process.world.hub.partition_state(partition_id), INPUT_HUB)

    def open(self, partition_id: str, start: StartPosition, owner_level: int) -> SimulatedReader:
        world = self.process.world
        log = world.hub.partitions[partition_id]
        position = start.sequence_number or 0
        if start.enqueued_ms is not None:
            position = next((n for n, event in enumerate(log) if event.enqueued_ms >= (start.enqueued_ms or 0)), len(log))
        return SimulatedReader(self.process, partition_id, position, world.hub.incarnation, world.failovers)

    async def close(self) -> None:
        return
