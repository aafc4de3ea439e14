"""A whole deployment in one event loop: the real assignment, worker and pipeline of several pods on in-memory stores.

The faults, all drawn from the seed: pods are killed at any await and started again or frozen for longer than their lease,
replies are lost, sends are applied without acknowledgement or not at all, connections drop, events are delivered again, wall
clocks are wrong and jump, partitions are slow, and Redis forgets.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import random
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec.structs import replace

from dedup_service.core.accounting import total
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.events import DEVICE_ID, MESSAGE_SOURCE, InputEvent
from dedup_service.core.leases import PRESENT, EndOffsets, Lease, LeaseRecord, Presence, Renewal, all_lost, still_held
from dedup_service.core.markers import Marker, Memory, ReadBack, RestoredEvent
from dedup_service.core.outgoing import OutgoingEvent, OutputPolicy
from dedup_service.core.progress import Position
from dedup_service.core.times import rfc3339
from dedup_service.errors import Dependency, ForgottenError, UnavailableError
from dedup_service.partitions.assignment import Assignment, AssignmentOptions
from dedup_service.partitions.worker import PartitionWorker, WorkerOptions
from dedup_service.ports import HubInfo, PartitionState, StartPosition, TailEvents
from dedup_service.processing.shared import Shared
from dedup_service.rebuild.published import PublishedReader
from dedup_service.rebuild.reading_back import ReadingBack
from dedup_service.rebuild.rebuilder import Rebuilder, RebuildOptions
from dedup_service.telemetry import Telemetry
from tests.doubles.markers import MemoryMarkers, MemoryServer, StoredMarker
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
    INPUT,
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
CLOCK_ERROR_SECONDS = 8.0
HORIZON_SECONDS = 12.0


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
    """How often Redis comes back empty."""
    lags: int = 0
    """How often Redis fails over to a replica that lacks its last writes, although they were acknowledged."""
    returns: int = 0
    """How often Redis comes back empty, and then an old replica of the first server takes its place."""
    shows_server: bool = True
    """Whether Redis shows by a name that it is another server."""
    is_live: bool = False
    """Whether the plant measures all the time, and not only before the faults."""
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
        self.server = MemoryServer(self.clock, self.claims, shows_id=scenario.shows_server)
        outputs: dict[str, list[OutgoingEvent]] = {str(n): [] for n in range(OUTPUTS)}
        self.clean = MemoryPublisher(outputs, clock=self.clock, timeout_seconds=SEND_TIMEOUT_SECONDS)
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

    async def _measure(self) -> None:
        """Each replica is late by a time of its own, and its copies come in its own order of events."""
        delays = [self.rng.choice([0.0, 1.0, 10.0, 40.0]) for _ in range(INPUTS)]
        sending: list[asyncio.Task[None]] = []
        while self.loop.time() < self.scenario.trouble_seconds:
            first, measured_ms = len(self.emitted), self.clock.now_ms()
            self.emitted += [f"{n % 4}-{n}" for n in range(first, first + self.rng.randint(1, 6))]
            for replica in range(INPUTS):
                mine = [r for r in self.emitted[first:] if int(r[0]) % INPUTS != replica or self.rng.random() < 0.5]
                sending.append(asyncio.create_task(self._deliver(replica, mine, measured_ms, delays[replica])))
            await asyncio.sleep(self.rng.uniform(0.1, 2.0))
        await asyncio.gather(*sending)

    async def _deliver(self, replica: int, readings: list[str], measured_ms: int, delay: float) -> None:
        await asyncio.sleep(delay * self.rng.random())
        self.delivered[replica] += readings
        self._send(replica, readings, self.clock.now_ms(), measured_ms)

    def _time_of(self, reading: str, measured_ms: int | None) -> dict[str, str]:
        """The same on every replica: some sources have no clock, and that of one is ahead, as far as is allowed."""
        if measured_ms is None or reading[0] == "0":
            return {}
        ahead_ms = int(CLOCK_ERROR_SECONDS * 1000) if reading[0] == "1" else 0
        return {"time": rfc3339(measured_ms + ahead_ms)}

    async def _repeat(self) -> None:
        """What a replica repeats, the others may not: only its own repetitions can keep the claims."""
        window = self.scenario.window_seconds
        held = {replica: self.rng.sample(mine, len(mine) // 3) for replica, mine in self.delivered.items()}
        end = self.loop.time() + WINDOWS_OF_REPETITIONS * window
        while self.loop.time() < end:
            await asyncio.sleep(self.rng.uniform(0.1, 0.25) * window)
            for replica, readings in held.items():
                self._send(replica, readings, self.clock.now_ms())

    def _send(self, replica: int, readings: list[str], oldest_ms: int, measured_ms: int | None = None) -> None:
        log = self.hub.partitions[str(replica)]
        while readings:
            size = self.rng.choice([1, 1, 2, 5])
            chunk, readings = readings[:size], readings[size:]
            if self.scenario.twice_in_one_event and self.rng.random() < self.scenario.twice_in_one_event:
                chunk.append(chunk[0])
            body, content_type, properties = self._encode(chunk, measured_ms)
            annotations = {DEVICE_ID: f"edge-{replica}", MESSAGE_SOURCE: "Telemetry"}
            if self.rng.random() < 0.1:  # not telemetry, although it looks like it; it must not suppress any
                twin = {**annotations, MESSAGE_SOURCE: "twin"}
                self._append(log, replica, body, content_type, properties, twin, oldest_ms)
            self._append(log, replica, body, content_type, properties, annotations, oldest_ms)

    def _encode(self, readings: list[str], measured_ms: int | None) -> tuple[bytes, str | None, dict[str, Any]]:
        attributes = [{"id": r, "source": f"urn:{r[0]}", **self._time_of(r, measured_ms)} for r in readings]
        if len(readings) == 1 and self.rng.random() < 0.5:
            properties = {f"cloudEvents_{name}": value for name, value in attributes[0].items()}
            return json.dumps({"reading": readings[0]}).encode(), None, properties
        elements: list[Any] = [{**a, "data": {"reading": r}} for a, r in zip(attributes, readings, strict=True)]
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
        return {name: sum(counts[f"{letter}{number}"] for letter in "fdsb") for name, number in numbers.items()}

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
        measuring = asyncio.create_task(self._measure()) if self.scenario.is_live else None
        troubles = [self._kill] * self.scenario.kills + [self._freeze] * self.scenario.freezes
        troubles += [self._stop] * self.scenario.stops
        troubles += [self._cut_off] * self.scenario.cut_offs + [self._expire] * self.scenario.expiries
        troubles += [self._fail_over] * self.scenario.failovers
        troubles += [self._lag] * self.scenario.lags + [self._return] * self.scenario.returns
        troubles += [self._forget] * self.scenario.forgets + [self._recreate] * self.scenario.recreations
        times = sorted(self.rng.uniform(0.0, self.scenario.trouble_seconds) for _ in troubles)
        self.rng.shuffle(troubles)
        for at, trouble in zip(times, troubles, strict=True):
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            await trouble()
        if self.scenario.outage_seconds:
            await self._outage()
        for plant in (repeating, measuring):
            if plant is not None:
                await plant
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
        self._become_another_server(({}, {}, {}, None, None, {}))

    async def _lag(self) -> None:
        """What was acknowledged since the replica was copied is lost."""
        replica = self._copy_of_redis()
        await asyncio.sleep(self.rng.choice([0.01, 0.3, 3.0]) * self.rng.random())
        self._become_another_server(replica)

    async def _return(self) -> None:
        replica = self._copy_of_redis()
        await self._forget()
        await asyncio.sleep(self.rng.uniform(5.0, 25.0))
        self._become_another_server(replica)

    def _copy_of_redis(self) -> tuple[Any, ...]:
        stores = (
            self.claims.stored,
            self.claims.numbers,
            self.leases.stored,
            self.leases.sample,
            self.server.marker,
            self.server.turns,
        )
        return copy.deepcopy(stores)

    def _become_another_server(self, stores: tuple[Any, ...]) -> None:
        self.claims.stored, self.claims.numbers, self.leases.stored, self.leases.sample, marker, turns = stores
        self.server.id, self.server.marker, self.server.turns = self.server.id + 1, marker, turns


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
    markers: MemoryMarkers = field(init=False)

    def __post_init__(self) -> None:
        self.markers = MemoryMarkers(self.world.server)

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
        leases, window_ms = SimulatedLeases(self), round(world.scenario.window_seconds * 1000)
        clean_partitions = sorted(world.clean.partitions)
        shared = shared_of(
            admission_of(group_of(mode=world.scenario.mode, window_ms=window_ms, output=output)),
            clock,
            self.telemetry,
            claims=SimulatedClaims(self),
            clean=SimulatedPublisher(self, world.clean),
            dead_letters=SimulatedPublisher(self, world.dead),
            incarnation=world.hub.incarnation,
            clean_partitions=clean_partitions,
            markers=SimulatedMarkers(self),
            memory=Memory(clean_partitions, clock_error_ms=round(CLOCK_ERROR_SECONDS * 1000)),
        )
        rebuilder = self._rebuilder(name, shared, window_ms)
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
        await asyncio.gather(rebuilder.run(stopping), assignment.run(stopping))

    def _rebuilder(self, name: str, shared: Shared, window_ms: int) -> Rebuilder:
        ports, memory = shared.ports, shared.memory
        assert ports.tail is not None
        assert ports.markers is not None
        published = PublishedReader({INPUT: shared.admission.groups}, shared.incarnations, shared.admission.extractor, "")
        options = RebuildOptions(LEASE_SECONDS, window_ms, lambda: round(HORIZON_SECONDS * 1000), lambda: 0)
        reading_back = ReadingBack(ports.tail, ports.claims, ports.markers, published, ports.clock, self.telemetry)
        return Rebuilder(name, memory, ports.markers, reading_back, ports.clock, self.telemetry, options, self._has_worked)

    async def _has_worked(self) -> bool:
        return bool(await SimulatedCheckpoints(self).load())

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

    async def marked_call(self, operation: Callable[[], Awaitable[T]], *, is_fenced: bool = False) -> T:
        """A request that Redis refuses where it has forgotten. What is known of the marker goes with the request."""
        known = self.markers.known

        async def checked() -> T:
            self.markers.check(known, is_fenced=is_fenced)
            return await operation()

        return await self.call(checked)

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
        return await self.process.marked_call(lambda: self.process.world.claims.claim(requests, live))

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        return await self.process.marked_call(lambda: self.process.world.claims.confirm(requests, ttl_ms))

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
        leases, mine = self.process.world.leases, still_held(held, self.process.markers.tenure)
        try:
            renewal = await self.process.marked_call(lambda: leases.renew(pod_id, mine, presence), is_fenced=True)
        except ForgottenError:
            return all_lost(held)
        return dataclasses.replace(renewal, lost=[lease.partition_id for lease in held if lease.is_lost])

    async def take(self, pod_id: str, partition_id: str) -> Lease | None:
        leases, tenure = self.process.world.leases, self.process.markers.tenure
        try:
            lease = await self.process.marked_call(lambda: leases.take(pod_id, partition_id, tenure[0]), is_fenced=True)
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
        self.hub.store(partition_id, events[:count])
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

        async def look_at() -> StoredMarker:
            return markers.look_at()

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
