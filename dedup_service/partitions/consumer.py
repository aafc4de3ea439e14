"""One input hub: its partitions, as far as this pod owns them, on their way into the clean stream.

Several of them, for instance the IoT Hubs of two regions, share the claims: a copy through one is a duplicate of a copy
through the other. Each waits for its own hub: one region that is away does not hold up the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from dedup_service.config.settings import Settings
from dedup_service.core.leases import Lease, NewestSample
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.errors import UnavailableError
from dedup_service.partitions.assignment import Assignment, AssignmentOptions
from dedup_service.partitions.worker import PartitionWorker, WorkerOptions, WorkerPorts
from dedup_service.ports import Checkpoints, ClaimStore, CleanTail, Clock, InputHub, Leases, Publisher
from dedup_service.processing.admission import Admission
from dedup_service.processing.pipeline import Pipeline, PipelineOptions, PipelinePorts, TakeoverState
from dedup_service.telemetry import Count, Telemetry
from dedup_service.waiting import Retrier, StartupWait

WATCH_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class InputPorts:
    name: str
    consumer_group: str
    setting: str
    """That messages about it name, with an example."""
    example: str
    hub: InputHub
    checkpoints: Checkpoints
    make_leases: Callable[[list[str]], Leases]
    """Of the hub's partitions."""
    retention_ms: int
    label: str = ""
    """Before the partition's number, where there are several inputs."""


@dataclass(frozen=True, slots=True)
class SharedPorts:
    """What all inputs use."""

    claims: ClaimStore
    clean: Publisher | None
    tail: CleanTail | None
    dead_letters: Publisher | None
    clock: Clock
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Outputs:
    forward_to: OutputPolicy | None
    dead_letter_partitions: list[str]


@dataclass(slots=True)
class Incarnations:
    """Of all inputs, as this pod last saw them."""

    names: list[str]
    known: dict[str, int] = field(default_factory=dict)

    def live(self) -> tuple[int, ...]:
        """Nothing unless all are known: a claim through an input that this pod has not reached yet is no orphan."""
        return tuple(self.known.values()) if len(self.known) == len(self.names) else ()


class InputConsumer:
    def __init__(
        self,
        settings: Settings,
        source: InputPorts,
        shared: SharedPorts,
        admission: Admission,
        outputs: Outputs,
        samples: NewestSample,
        incarnations: Incarnations,
        pod_id: str,
    ) -> None:
        self._settings = settings
        self._source = source
        self._shared = shared
        self._admission = admission
        self._outputs = outputs
        self._samples = samples
        self._incarnations = incarnations
        self._pod_id = pod_id
        self._assignment: Assignment | None = None
        self.partitions: list[str] = []
        """As they are called everywhere; none while the hub has not been reached."""

    @property
    def is_running(self) -> bool:
        return self._assignment is not None

    @property
    def is_working(self) -> bool:
        return self._assignment is None or self._assignment.is_working

    async def run(self, startup: StartupWait, stop: asyncio.Event) -> None:
        """Until `stop`. Raises ConfigurationError when the hub refuses."""
        source, options = self._source, self._settings
        info = await startup.available(source.setting, source.example, source.hub.info)
        if info is None or stop.is_set():
            return
        self._incarnations.known[source.name] = info.incarnation
        self.partitions = [source.label + partition for partition in info.partition_ids]
        leases = source.make_leases(info.partition_ids)
        self._assignment = Assignment(
            self._pod_id,
            info.partition_ids,
            AssignmentOptions(options.lease_interval_seconds, options.sample_interval_seconds),
            leases,
            self._shared.clean,
            self._samples,
            self._shared.clock,
            self._shared.telemetry,
            partial(self._make_worker, leases),
        )
        watching = asyncio.create_task(self._watch_incarnation())
        try:
            await self._assignment.run(stop)
        finally:
            watching.cancel()

    async def _watch_incarnation(self) -> None:
        """Where there are several inputs: this pod may own no partition of this one, and must know all the same when its hub
        is replaced, or it would take the old hub's claims for live ones and drop the other inputs' copies."""
        while len(self._incarnations.names) > 1:
            await self._shared.clock.sleep(WATCH_SECONDS)
            try:
                info = await self._source.hub.info()
            except UnavailableError as error:
                self._shared.telemetry.add(Count.FAILURES, label=error.what)
            else:
                self._incarnations.known[self._source.name] = info.incarnation

    def _make_worker(self, leases: Leases, lease: Lease) -> PartitionWorker:
        shared, source, stopping = self._shared, self._source, asyncio.Event()
        retrier = Retrier(shared.clock, shared.telemetry, stopping)
        worker_ports = WorkerPorts(
            hub=source.hub,
            checkpoints=source.checkpoints,
            leases=leases,
            clean=shared.clean,
            clock=shared.clock,
            telemetry=shared.telemetry,
            retrier=retrier,
        )
        options = WorkerOptions(self._settings.start_position, self._settings.checkpoint_interval_seconds, source.label)
        return PartitionWorker(lease, options, worker_ports, partial(self._make_pipeline, retrier), stopping)

    def _make_pipeline(self, retrier: Retrier, state: TakeoverState) -> Pipeline:
        shared, source = self._shared, self._source
        self._incarnations.known[source.name] = state.incarnation
        ports = PipelinePorts(
            claims=shared.claims,
            clean=shared.clean,
            tail=shared.tail,
            dead_letters=shared.dead_letters,
            admission=self._admission,
            clock=shared.clock,
            telemetry=shared.telemetry,
            retrier=retrier,
            live=self._incarnations.live,
        )
        options = PipelineOptions(
            retention_ms=source.retention_ms,
            forward_to=self._outputs.forward_to,
            dead_letter_partitions=self._outputs.dead_letter_partitions,
        )
        return Pipeline(options, ports, state, self._samples, self._lag_spread_ms)

    def _lag_spread_ms(self) -> int:
        """How much later the slowest partition of this pod is than the fastest: copies of one reading lie that far apart
        in processing time, on top of what the window allows for."""
        now_ms = self._shared.clock.now_ms()
        figures = self._shared.telemetry.partitions.values()
        lags = [max(0, now_ms - f.enqueued_ms) for f in figures if 0 < f.enqueued_ms < f.last_enqueued_ms]
        return max(lags, default=0)
