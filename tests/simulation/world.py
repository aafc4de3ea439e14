"""A whole deployment in one event loop: the real assignment, worker and pipeline of several pods on in-memory stores.

The faults, all drawn from the seed: pods are killed at any await and started again or frozen for longer than their lease,
replies are lost, sends are applied without acknowledgement or not at all, connections drop, events are delivered again, wall
clocks are wrong and jump, partitions are slow, and Redis forgets.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec.structs import replace

from dedup_service.core.accounting import total
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.events import DEVICE_ID, MESSAGE_SOURCE, InputEvent
from dedup_service.core.leases import PRESENT, EndOffsets, Lease, LeaseRecord, Presence, Renewal
from dedup_service.core.outgoing import OutgoingEvent, OutputPolicy
from dedup_service.core.progress import Position
from dedup_service.errors import Dependency, UnavailableError
from dedup_service.partitions.assignment import Assignment, AssignmentOptions
from dedup_service.partitions.worker import PartitionWorker, WorkerOptions
from dedup_service.ports import HubInfo, PartitionState, StartPosition, TailEvents
from dedup_service.telemetry import Telemetry
from tests.doubles.memory import (
    MemoryCheckpoints,
    MemoryClaims,
    MemoryHub,
    MemoryLeases,
    MemoryPublisher,
)
from tests.support.groups import admission_of, group_of
from tests.support.shared import (
    CHECKPOINTS,
    CLEAN_HUB,
    CLEAN_HUB_READING,
    INPUT_HUB,
    INPUT_HUB_READING,
    REDIS,
    input_of,
    shared_of,
)
from wire.cloudevents import BATCH_CONTENT_TYPE

T = TypeVar("T")

START_MS = 1_700_000_000_000
LEASE_SECONDS = 6.0
SEND_TIMEOUT_SECONDS = 2.0
GRACE_SECONDS = 30.0
CALL_SECONDS = 10.0
"""How long a call waits for a hub that does not answer."""
WINDOW_SECONDS = 14_400.0
RETENTION_MS = 86_400_000
BACKLOG_MS = 8 * 3_600_000
INPUTS, OUTPUTS = 3, 2
WINDOWS_OF_REPETITIONS = 3


@dataclass(frozen=True)
class Scenario:
    """How often each fault happens. Rates are per call of a port, numbers are per run."""

    readings: int = 24
    pods: int = 2
    kills: int = 3
    freezes: int = 1
    stops: int = 0
    """How often a pod is asked to leave, and then started again."""
    forgets: int = 0
    lost_replies: float = 0.03
    defects: float = 0.0
    """How often a call ends with an error that nobody expects, before or after it has had its effect."""
    failed_sends: float = 0.06
    dropped_readers: float = 0.02
    redeliveries: float = 0.1
    mode: str = "drop"
    trouble_seconds: float = 25.0
    queueing_seconds: float = 0.02
    """How long a send may wait for its turn before the lease is checked."""
    retention_seconds: float = RETENTION_MS / 1000
    configured_retention_seconds: float | None = None
    """What the operator says about it; None for the truth."""
    outage_seconds: float = 0.0
    """How long all pods are dead after the other faults. One replica sends its copies only at the end of this time."""
    recreations: int = 0
    """How often the input hub is replaced by a new one of the same name, which gets new readings."""
    cut_offs: int = 0
    """How often a pod, and no other, loses the input hub. The first one never gets it back."""
    failovers: int = 0
    """How often the input hub fails over to a copy that lacks its last events, while no pod is at work on them."""
    expiries: int = 0
    """How often all that the clean hub holds expires, so that nobody can look it up any more."""
    window_seconds: float = WINDOW_SECONDS
    repeats: bool = False
    """Whether each replica repeats some of its readings several times in each window, for several windows."""
    twice_in_one_event: float = 0.0
    """The share of events in which a reading stands twice."""
    wrong_clocks: bool = True
    reroutes: bool = False
    """Whether each life of a pod has another idea of where in the clean stream readings belong."""


class SimulatedClock:
    """The stores' clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return START_MS + int(self._loop.time() * 1000)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class PodClock:
    """A pod's clock, whose wall time is wrong and jumps."""

    clock: SimulatedClock
    skew_ms: int
    rng: random.Random

    def now_ms(self) -> int:
        if self.rng.random() < 0.01:
            self.skew_ms += self.rng.choice([-60_000, 60_000])
        return self.clock.now_ms() + self.skew_ms

    def monotonic(self) -> float:
        return self.clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class World:
    def __init__(self, seed: int, scenario: Scenario, loop: asyncio.AbstractEventLoop, rng: random.Random) -> None:
        self.seed, self.scenario, self.rng, self.loop = seed, scenario, rng, loop
        self.clock: Any = SimulatedClock(loop)
        self.claims = MemoryClaims(self.clock)
        inputs = [str(n) for n in range(INPUTS)]
        self.leases = MemoryLeases(self.clock, inputs, ttl_seconds=LEASE_SECONDS)
        self.hub = MemoryHub(self.clock, {name: [] for name in inputs}, batch_size=rng.choice([1, 3, 8]))
        self.clean = MemoryPublisher({str(n): [] for n in range(OUTPUTS)}, timeout_seconds=SEND_TIMEOUT_SECONDS)
        self.dead = MemoryPublisher({"0": []})
        self.checkpoints = MemoryCheckpoints()
        self.slowness = {name: rng.choice([0.001, 0.01, 0.2]) for name in inputs}
        self.in_trouble = True
        self.emitted: list[str] = []
        self.delivered: dict[int, list[str]] = {replica: [] for replica in range(INPUTS)}
        self.late: list[InputEvent] = []
        self.pods: list[Pod] = []
        self.cut_off: Pod | None = None
        self.failovers = 0

    # --- the plant and its replicas

    def emit(self) -> None:
        """Each replica has its own partition and batch boundaries, and lacks about half the readings of some sources."""
        first = len(self.emitted)
        self.emitted += [f"{n % 4}-{n}" for n in range(first, first + self.scenario.readings)]
        oldest = self.clock.now_ms() - self.rng.choice([10_000, min(BACKLOG_MS, int(self.retention_ms / 2))])
        for replica in range(INPUTS):
            mine = [r for r in self.emitted[first:] if int(r[0]) % INPUTS != replica or self.rng.random() < 0.5]
            self.delivered[replica] += mine
            self._send(replica, mine, oldest)

    async def _repeat(self) -> None:
        """What a replica repeats, the others may not: only its own repetitions can keep the claims."""
        window = self.scenario.window_seconds
        held = {replica: self.rng.sample(mine, len(mine) // 3) for replica, mine in self.delivered.items()}
        end = self.loop.time() + WINDOWS_OF_REPETITIONS * window
        while self.loop.time() < end:
            await asyncio.sleep(self.rng.uniform(0.1, 0.25) * window)
            for replica, readings in held.items():
                self._send(replica, readings, self.clock.now_ms())

    def _send(self, replica: int, readings: list[str], oldest_ms: int) -> None:
        log = self.hub.partitions[str(replica)]
        while readings:
            size = self.rng.choice([1, 1, 2, 5])
            chunk, readings = readings[:size], readings[size:]
            if self.scenario.twice_in_one_event and self.rng.random() < self.scenario.twice_in_one_event:
                chunk.append(chunk[0])
            body, content_type, properties = self._encode(chunk)
            annotations = {DEVICE_ID: f"edge-{replica}", MESSAGE_SOURCE: "Telemetry"}
            if self.rng.random() < 0.1:  # not telemetry, although it looks like it; it must not suppress any
                twin = {**annotations, MESSAGE_SOURCE: "twin"}
                self._append(log, replica, body, content_type, properties, twin, oldest_ms)
            self._append(log, replica, body, content_type, properties, annotations, oldest_ms)

    def _encode(self, readings: list[str]) -> tuple[bytes, str | None, dict[str, Any]]:
        if len(readings) == 1 and self.rng.random() < 0.5:
            properties = {"cloudEvents_id": readings[0], "cloudEvents_source": f"urn:{readings[0][0]}"}
            return json.dumps({"reading": readings[0]}).encode(), None, properties
        elements: list[Any] = [{"id": r, "source": f"urn:{r[0]}", "data": {"reading": r}} for r in readings]
        if self.rng.random() < 0.1:
            elements.insert(self.rng.randint(0, len(elements)), {"broken": True})
        return json.dumps(elements).encode(), BATCH_CONTENT_TYPE, {}

    def _append(
        self,
        log: list[InputEvent],
        replica: int,
        body: bytes,
        content_type: str | None,
        properties: Mapping[str, Any],
        annotations: Mapping[str, Any],
        oldest_ms: int,
    ) -> None:
        span = max(1, self.clock.now_ms() - oldest_ms)
        log.append(
            InputEvent(
                partition_id=str(replica),
                sequence_number=len(log),
                offset=str(len(log)),
                enqueued_ms=oldest_ms + span * len(log) // (self.scenario.readings * 2),
                body=body,
                content_type=content_type,
                application_properties=properties,
                annotations=annotations,
            )
        )

    @property
    def retention_ms(self) -> int:
        return int(self.scenario.retention_seconds * 1000)

    @property
    def configured_retention_ms(self) -> int:
        configured = self.scenario.configured_retention_seconds
        return self.retention_ms if configured is None else int(configured * 1000)

    def first_kept(self, partition: str) -> int:
        """The first sequence number that is still within the retention."""
        log, oldest = self.hub.partitions[partition], self.clock.now_ms() - self.retention_ms
        return next((event.sequence_number for event in log if event.enqueued_ms >= oldest), len(log))

    # --- accounting

    def arrived_copies(self) -> dict[str, int]:
        """Replica → number of copies of readings in its partition."""
        return {
            f"edge-{partition}": sum(
                event.body.decode().count('"reading"') for event in log if event.annotations[MESSAGE_SOURCE] == "Telemetry"
            )
            for partition, log in self.hub.partitions.items()
        }

    def counted_copies(self) -> dict[str, int]:
        counts = total(counted for (kind, _, _), counted in self.claims.ledger.counts.items() if kind.startswith("source"))
        numbers = {name: number for (_, name), number in self.claims.numbers.items()}
        return {name: sum(counts[f"{letter}{number}"] for letter in "fds") for name, number in numbers.items()}

    # --- a run

    async def run(self) -> None:
        """Raises TimeoutError when the pods do not finish although all faults are over."""
        self.emit()
        if self.scenario.outage_seconds:
            self._hold_back()
        self.pods = [Pod(self, f"pod-{n}") for n in range(self.scenario.pods)]
        for pod in self.pods:
            pod.start()
        repeating = asyncio.create_task(self._repeat()) if self.scenario.repeats else None
        troubles = [self._kill] * self.scenario.kills + [self._freeze] * self.scenario.freezes
        troubles += [self._stop] * self.scenario.stops
        troubles += [self._cut_off] * self.scenario.cut_offs + [self._expire] * self.scenario.expiries
        troubles += [self._fail_over] * self.scenario.failovers
        troubles += [self._forget] * self.scenario.forgets + [self._recreate] * self.scenario.recreations
        times = sorted(self.rng.uniform(0.0, self.scenario.trouble_seconds) for _ in troubles)
        self.rng.shuffle(troubles)
        for at, trouble in zip(times, troubles, strict=True):
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            await trouble()
        if self.scenario.outage_seconds:
            await self._outage()
        if repeating is not None:
            await repeating
        self.in_trouble = False
        async with asyncio.timeout(400):
            while not self._is_finished():
                await asyncio.sleep(0.5)
        for pod in self.pods:
            pod.kill()

    def _is_finished(self) -> bool:
        """Judged by record or checkpoint, because a former owner may have moved a checkpoint back."""
        return all(self._is_finished_in(partition, log) for partition, log in self.hub.partitions.items())

    def _is_finished_in(self, partition: str, log: list[InputEvent]) -> bool:
        if self.first_kept(partition) == len(log):
            return True
        record = self._record(partition)
        finished = record.finished if record is not None else None
        if self.failovers or (finished is not None and finished.is_a_time):  # numbers say nothing
            return not log or (finished.enqueued_ms if finished else 0) >= log[-1].enqueued_ms
        return max(self._finished(partition), self.first_kept(partition) - 1) >= len(log) - 1

    def _record(self, partition: str) -> LeaseRecord | None:
        lease = self.leases.stored.get(partition)
        return LeaseRecord.decode(lease.record) if lease is not None and lease.record is not None else None

    def _finished(self, partition: str) -> int:
        record = self._record(partition)
        if self.hub.incarnation > 1:  # a checkpoint does not say which incarnation it belongs to
            is_of_this_hub = record is not None and record.incarnation == self.hub.incarnation
            return record.finished.sequence_number if record and record.finished and is_of_this_hub else -1
        positions = [self.checkpoints.positions.get(partition), record.finished if record is not None else None]
        return max((position.sequence_number for position in positions if position is not None), default=-1)

    async def _kill(self) -> None:
        pod = self.rng.choice(self.pods)
        pod.kill()
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 8.0]))
        pod.start()

    async def _stop(self) -> None:
        pod = self.rng.choice(self.pods)
        await pod.stop()
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 8.0]))
        pod.start()

    async def _freeze(self) -> None:
        self.rng.choice(self.pods).freeze(self.rng.uniform(1.0, 3 * LEASE_SECONDS))

    def _hold_back(self) -> None:
        """Keeps back all that the last replica has sent.

        The retention may drop what the others sent before it is read, so only what the last replica holds must arrive.
        """
        log = self.hub.partitions[str(INPUTS - 1)]
        self.late, log[:] = log[:], []
        held = "".join(event.body.decode() for event in self.late if event.annotations[MESSAGE_SOURCE] == "Telemetry")
        self.emitted = [reading for reading in self.emitted if f'"reading": "{reading}"' in held]

    async def _outage(self) -> None:
        for pod in self.pods:
            pod.kill()
        await asyncio.sleep(self.scenario.outage_seconds)
        now_ms = self.clock.now_ms()
        self.hub.partitions[str(INPUTS - 1)] += [replace(event, enqueued_ms=now_ms) for event in self.late]
        for pod in self.pods:
            pod.start()

    async def _recreate(self) -> None:
        """The readings in the old hub are gone with it; all those in the new one must arrive."""
        for log in self.hub.partitions.values():
            log.clear()
        self.hub.incarnation += 1
        already = len(self.emitted)
        self.emit()
        self.emitted = self.emitted[already:]
        for log in self.hub.partitions.values():
            log[:] = [replace(event, enqueued_ms=self.clock.now_ms()) for event in log]

    async def _cut_off(self) -> None:
        self.cut_off = self.cut_off or self.rng.choice(self.pods)
        pod = self.rng.choice(self.pods)
        if pod is not self.cut_off and self.cut_off.reaches_hub_at != float("inf"):
            pod = self.cut_off
        pod.reaches_hub_at = float("inf") if pod is self.cut_off else self.loop.time() + self.rng.uniform(1.0, 60.0)
        pod.hub_is_silent = self.rng.random() < 0.5

    async def _fail_over(self) -> None:
        """The numbers of the events that are lost go to new ones. Pods read on, or were dead meanwhile."""
        while not self._is_finished():
            await asyncio.sleep(0.5)
        are_dead = self.rng.random() < 0.5
        for pod in self.pods if are_dead else []:
            pod.kill()
        await asyncio.sleep(self.rng.uniform(5.0, 20.0))
        kept = {name: self.rng.randint(0, len(log)) for name, log in self.hub.partitions.items()}
        for name, log in self.hub.partitions.items():
            del log[kept[name] :]
        self.emit()
        now_ms = self.clock.now_ms()
        for name, log in self.hub.partitions.items():
            log[kept[name] :] = [replace(event, enqueued_ms=now_ms + n) for n, event in enumerate(log[kept[name] :])]
        self.failovers += 1
        await asyncio.sleep(self.rng.uniform(0.0, 20.0))
        for pod in self.pods if are_dead else []:
            pod.start()

    async def _expire(self) -> None:
        self.clean.expired = max(len(log) for log in self.clean.partitions.values())

    async def _forget(self) -> None:
        self.claims.stored.clear()
        self.leases.stored.clear()


class Pod:
    """A pod: real code on ports that fail, and that stop working for good when the pod is killed."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.life = 0
        self.reaches_hub_at = 0.0
        self.hub_is_silent = False
        """While the hub is not reached: whether its connections stay open without a word."""
        self.thawed = asyncio.Event()
        self.thawed.set()
        self._main: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def start(self) -> None:
        self.life += 1
        self.thawed.set()
        self._stopping = asyncio.Event()
        self._main = asyncio.create_task(Process(self, self.life).run(self._stopping))

    async def stop(self) -> None:
        """Asks the pod to leave, and kills it when that takes too long."""
        self._stopping.set()
        if self._main is not None:
            await asyncio.wait({self._main}, timeout=GRACE_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Ends this life of the pod: none of its further calls has an effect."""
        self.life += 1
        if self._main is not None:
            self._main.cancel()

    def freeze(self, seconds: float) -> None:
        self.thawed.clear()
        self.world.loop.call_later(seconds, self.thawed.set)


@dataclass
class Process:
    """One life of a pod: a process whose ports are called over a simulated network."""

    pod: Pod
    life: int
    telemetry: Telemetry = field(default_factory=Telemetry)

    @property
    def world(self) -> World:
        return self.pod.world

    async def run(self, stopping: asyncio.Event) -> None:
        world = self.world
        name = f"{self.pod.name}-{self.life}"
        clock: Any = PodClock(world.clock, world.rng.choice([0, -5_000, 90_000]), world.rng)
        if not world.scenario.wrong_clocks:
            clock = world.clock
        partitions = sorted(world.clean.partitions)
        by = "source"
        if world.scenario.reroutes:
            partitions, by = (
                world.rng.choice([partitions, partitions[:1], partitions[1:]]),
                world.rng.choice(["source", "group"]),
            )
        output = OutputPolicy(partitions, by, "g")
        leases = SimulatedLeases(self)
        shared = shared_of(
            admission_of(
                group_of(mode=world.scenario.mode, window_ms=round(world.scenario.window_seconds * 1000), output=output)
            ),
            clock,
            self.telemetry,
            claims=SimulatedClaims(self),
            clean=SimulatedPublisher(self, world.clean),
            dead_letters=SimulatedPublisher(self, world.dead),
            clean_partitions=world.clean.partitions,
        )
        source = input_of(SimulatedHub(self), SimulatedCheckpoints(self), leases, world.configured_retention_ms)
        options = WorkerOptions("earliest", checkpoint_interval_seconds=1.0)
        assignment = Assignment(
            name,
            sorted(world.hub.partitions),
            AssignmentOptions(interval_seconds=0.5, sample_interval_seconds=1.0),
            leases,
            shared,
            lambda lease: PartitionWorker(lease, source, shared, leases, options),
            self.probe,
        )
        await assignment.run(stopping)

    @property
    def is_cut_off(self) -> bool:
        return self.world.loop.time() < self.pod.reaches_hub_at

    async def probe(self) -> None:
        await SimulatedHub(self).info()

    async def pause(self, slowness: float = 0.002) -> None:
        """Lets some time pass; a frozen process waits, and a dead one never continues."""
        await asyncio.sleep(self.world.rng.random() * slowness)
        await self.pod.thawed.wait()
        if self.life != self.pod.life:
            raise asyncio.CancelledError

    async def call(self, operation: Callable[[], Awaitable[T]], dependency: Dependency = REDIS) -> T:
        """A request and its reply; either may be lost."""
        rng, world = self.world.rng, self.world
        await self.pause()
        if world.in_trouble and rng.random() < world.scenario.defects / 2:
            raise ArithmeticError("a defect of a client library, before the request")
        if world.in_trouble and rng.random() < world.scenario.lost_replies / 2:
            raise UnavailableError(dependency, "request lost", ambiguous=True)
        result = await operation()
        await self.pause()
        if world.in_trouble and rng.random() < world.scenario.lost_replies:
            raise UnavailableError(dependency, "reply lost", ambiguous=True)
        if world.in_trouble and rng.random() < world.scenario.defects / 2:
            raise ArithmeticError("a defect of a client library, after the request")
        return result


@dataclass
class SimulatedClaims:
    process: Process

    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        return await self.process.call(lambda: self.process.world.claims.claim(requests, live))

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        return await self.process.call(lambda: self.process.world.claims.confirm(requests, ttl_ms))

    async def replica_number(self, group: str, replica: str) -> int:
        return await self.process.world.claims.replica_number(group, replica)

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        return


@dataclass
class SimulatedLeases:
    process: Process

    def add_partitions(self, partition_ids: Sequence[str]) -> None:
        self.process.world.leases.add_partitions(partition_ids)

    async def known_at_first(self, incarnation: int, partition_ids: Sequence[str]) -> frozenset[str]:
        return await self.process.call(lambda: self.process.world.leases.known_at_first(incarnation, partition_ids))

    async def renew(self, pod_id: str, held: Sequence[Lease], presence: Presence = PRESENT) -> Renewal:
        return await self.process.call(lambda: self.process.world.leases.renew(pod_id, held, presence))

    async def take(self, pod_id: str, partition_id: str) -> Lease | None:
        return await self.process.call(lambda: self.process.world.leases.take(pod_id, partition_id))

    async def write(self, lease: Lease, record: LeaseRecord, *, release: bool = False) -> bool:
        return await self.process.call(lambda: self.process.world.leases.write(lease, record, release=release))

    async def leave(self, pod_id: str) -> None:
        await self.process.call(lambda: self.process.world.leases.leave(pod_id))

    async def may_sample(self, interval_seconds: float) -> bool:
        return await self.process.call(lambda: self.process.world.leases.may_sample(interval_seconds))

    async def save_sample(self, sample: EndOffsets) -> None:
        await self.process.call(lambda: self.process.world.leases.save_sample(sample))


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

    async def partition_ids(self) -> list[str]:
        return await self.hub.partition_ids()

    async def ends(self) -> dict[str, int]:
        return await self.process.call(self.hub.ends, CLEAN_HUB)

    async def publish(
        self, partition_id: str, events: Sequence[OutgoingEvent], permit: Callable[[float], None] | None = None
    ) -> int:
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
        self.hub.partitions[partition_id] += events[:count]
        await process.pause()
        if fate < 2.5 * world.scenario.failed_sends:
            raise UnavailableError(CLEAN_HUB, "not acknowledged", ambiguous=True)
        if world.in_trouble and world.rng.random() < world.scenario.defects:
            raise ArithmeticError("a defect of a client library, after the send")
        return count

    async def try_reading(self) -> list[str]:
        return []

    async def read(self, partition_id: str, after: int) -> TailEvents:
        return await self.process.call(lambda: self.hub.read(partition_id, after), CLEAN_HUB_READING)

    async def close(self) -> None:
        return


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
    dependency: Dependency = INPUT_HUB

    async def info(self) -> HubInfo:
        await self._reach()
        return await self.process.call(self.process.world.hub.info, INPUT_HUB)

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
