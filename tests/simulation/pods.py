"""Pods: real code on ports that fail, and that stop working for good when the pod is killed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from dedup_service.core.claims import HOME
from dedup_service.core.limits import Limits
from dedup_service.core.markers import Memory
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.errors import Dependency, UnavailableError
from dedup_service.partitions.assignment import Assignment
from dedup_service.partitions.sampling import Sampling
from dedup_service.partitions.worker import PartitionWorker, WorkerOptions
from dedup_service.processing.shared import Shared
from dedup_service.rebuild.past import Past
from dedup_service.rebuild.published import PublishedReader
from dedup_service.rebuild.reading_back import ReadingBack
from dedup_service.rebuild.rebuilder import Rebuilder, RebuildOptions
from dedup_service.telemetry import Telemetry
from tests.doubles.markers import MemoryMarkers
from tests.doubles.memory import AlwaysFirst
from tests.simulation.ports import (
    SimulatedCheckpoints,
    SimulatedClaims,
    SimulatedHub,
    SimulatedLeases,
    SimulatedMarkers,
    SimulatedPublisher,
)
from tests.simulation.scenario import (
    CLOCK_ERROR_SECONDS,
    GRACE_SECONDS,
    HORIZON_SECONDS,
    LEASE_SECONDS,
    READINGS_IN_WINDOW,
    READINGS_PER_MINUTE,
    Input,
    Scenario,
)
from tests.support.groups import admission_of, group_of
from tests.support.shared import (
    NO_LIMITS,
    REDIS,
    incarnations_of,
    input_of,
    shared_of,
)

if TYPE_CHECKING:
    from tests.simulation.world import SimulatedClock, World

T = TypeVar("T")


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


def limits_of(scenario: Scenario) -> Limits:
    if scenario.beyond_limits is None:
        return NO_LIMITS
    return Limits(READINGS_PER_MINUTE / 60, READINGS_IN_WINDOW, scenario.beyond_limits)


class Pod:
    """A pod: real code on ports that fail, and that stop working for good when the pod is killed."""

    def __init__(self, world: World, name: str, inputs: tuple[Input, ...], shards: int) -> None:
        self.world, self.name, self.inputs, self.shards = world, name, inputs, shards
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
        world = self.world
        self.markers = MemoryMarkers(
            world.server,
            shards=self.pod.shards,
            configuration=self.configuration,
            at_work=world.leases.at_work,
            lease_seconds=LEASE_SECONDS,
        )

    @property
    def world(self) -> World:
        return self.pod.world

    @property
    def configuration(self) -> str:
        """What all pods at work must have in common."""
        return " ".join([*(item.name for item in self.pod.inputs), str(self.pod.shards)])

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
        window_ms = round(world.scenario.window_seconds * 1000)
        clean_partitions = sorted(world.clean.partitions)
        shared = shared_of(
            admission_of(group_of(mode=world.scenario.mode, window_ms=window_ms, output=output)),
            clock,
            self.telemetry,
            claims=SimulatedClaims(self),
            clean=SimulatedPublisher(self, world.clean),
            dead_letters=SimulatedPublisher(self, world.dead),
            incarnations=incarnations_of({item.name: world.hub.incarnation + item.incarnation for item in self.pod.inputs}),
            clean_partitions=clean_partitions,
            markers=SimulatedMarkers(self),
            limits=limits_of(world.scenario),
            memory=Memory(clean_partitions, self.pod.shards, clock_error_ms=round(CLOCK_ERROR_SECONDS * 1000)),
        )
        rebuilder = self._rebuilder(name, shared, window_ms)
        assignments = [self._assignment(name, shared, item) for item in self.pod.inputs]
        await asyncio.gather(rebuilder.run(stopping), *(assignment.run(stopping) for assignment in assignments))

    def _assignment(self, name: str, shared: Shared, item: Input) -> Assignment:
        leases, retention_ms = SimulatedLeases(self, item), self.world.configured_retention_ms
        source = input_of(SimulatedHub(self, item), SimulatedCheckpoints(self), leases, retention_ms, item.name)
        sampling = Sampling(shared, leases, interval_seconds=1.0)
        options = WorkerOptions("earliest", checkpoint_interval_seconds=1.0, ahead_events=self.world.scenario.ahead_events)
        return Assignment(
            name,
            list(item.partitions),
            0.5,
            leases,
            AlwaysFirst(),
            shared,
            sampling,
            lambda lease: PartitionWorker(lease, source, shared, leases, sampling, options),
            self.probe,
        )

    def _rebuilder(self, name: str, shared: Shared, window_ms: int) -> Rebuilder:
        ports, memory = shared.ports, shared.memory
        assert ports.tail is not None
        assert ports.markers is not None
        groups = dict.fromkeys((item.name for item in self.pod.inputs), shared.admission.groups)
        published = PublishedReader(groups, shared.incarnations, shared.admission.extractor, "")
        options = RebuildOptions(LEASE_SECONDS, window_ms, lambda: round(HORIZON_SECONDS * 1000), lambda: 0)
        reading_back = ReadingBack(ports.tail, ports.claims, ports.markers, published, ports.clock, self.telemetry)
        past = Past(self._has_worked, ports.tail, memory.clean_partitions, ports.clock, self.telemetry)
        return Rebuilder(name, memory, ports.markers, reading_back, ports.clock, self.telemetry, options, past)

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

    async def marked_call(
        self, operation: Callable[[], Awaitable[T]], shards: Sequence[int] = (HOME,), *, is_fenced: bool = False
    ) -> T:
        """A request that Redis refuses where it has forgotten. What is known of the markers goes with the request."""
        known = {shard: self.markers.known_of(shard) for shard in shards}

        async def checked() -> T:
            for shard in shards:
                self.markers.check(known[shard], shard=shard, is_fenced=is_fenced)
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
