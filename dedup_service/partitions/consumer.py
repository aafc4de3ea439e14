"""One input hub: the partitions of it that this pod owns, on their way into the clean stream.

Several inputs, for instance the IoT Hubs of two regions, share the claims: a copy through one is a duplicate of a copy
through the other. Each waits for its own hub, so that one region that is away does not hold up the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from dedup_service.config.settings import HUB_EXAMPLE, PREFIX, Settings, example
from dedup_service.core.leases import Lease
from dedup_service.errors import UnavailableError
from dedup_service.partitions.assignment import Assignment
from dedup_service.partitions.input_ports import InputPorts
from dedup_service.partitions.sampling import Sampling
from dedup_service.partitions.worker import PartitionWorker, WorkerOptions
from dedup_service.ports.ownership import Leases
from dedup_service.processing.shared import Shared
from dedup_service.waiting import StartupWait

INCARNATION_CHECK_SECONDS = 15.0
EARLIEST = "earliest"


class InputConsumer:
    def __init__(self, settings: Settings, source: InputPorts, shared: Shared, pod_id: str) -> None:
        self._source = source
        self._shared = shared
        self._pod_id = pod_id
        self._settings = settings
        self._known_at_first: frozenset[str] = frozenset()
        self._assignment: Assignment | None = None
        self.partitions: list[str] = []
        """As they are called everywhere; empty while the hub has not been reached."""

    @property
    def is_running(self) -> bool:
        return self._assignment is not None

    @property
    def is_working(self) -> bool:
        return self._assignment is None or self._assignment.is_working

    async def run(self, startup: StartupWait, stop: asyncio.Event) -> None:
        """Until `stop`. Raises ConfigurationError when the hub refuses."""
        source = self._source
        info = await startup.available(source.config.address.setting, HUB_EXAMPLE, source.hub.info)
        if info is None or stop.is_set():
            return
        self._shared.incarnations.saw(source.config.name, info.incarnation)
        self.partitions = [source.label + partition for partition in info.partition_ids]
        leases = source.make_leases(info.partition_ids)
        ask = partial(leases.known_at_first, info.incarnation, info.partition_ids)
        known = await startup.available(f"{PREFIX}REDIS_URL", example("redis_url"), ask)
        if known is None:
            return
        self._known_at_first = known
        sampling = Sampling(self._shared, leases, self._settings.sample_interval_seconds)
        self._assignment = Assignment(
            self._pod_id,
            info.partition_ids,
            self._settings.lease_interval_seconds,
            leases,
            self._source.precedence,
            self._shared,
            sampling,
            partial(self._make_worker, leases, sampling),
            self._probe,
        )
        watching = asyncio.create_task(self._watch_hub(self._assignment))
        try:
            await self._assignment.run(stop)
        finally:
            watching.cancel()

    async def _probe(self) -> None:
        """Asks the hubs that a worker needs. Raises UnavailableError."""
        ports = self._shared.ports
        await self._source.hub.info()
        for publisher in (ports.clean, ports.dead_letters):
            if publisher is not None:
                await publisher.partition_ids()

    def _make_worker(self, leases: Leases, sampling: Sampling, lease: Lease) -> PartitionWorker:
        """A partition that was added later is read from its beginning, wherever the operator wanted to start in the others:
        what it holds came after that."""
        start_at = self._settings.start_position if lease.partition_id in self._known_at_first else EARLIEST
        options = WorkerOptions(start_at, self._settings.checkpoint_interval_seconds)
        return PartitionWorker(lease, self._source, self._shared, leases, sampling, options)

    async def _watch_hub(self, assignment: Assignment) -> None:
        """Looks for partitions that were added while this service runs, and for a hub that was replaced.

        Where there are several inputs, this pod may own no partition of this one, but must know all the same when its hub is
        replaced. Otherwise it would take the old hub's claims for live ones and drop the other inputs' copies."""
        ports, incarnations, seconds = self._shared.ports, self._shared.incarnations, self._settings.partition_check_seconds
        if incarnations.has_several:
            seconds = min(seconds, INCARNATION_CHECK_SECONDS)
        while True:
            await ports.clock.sleep(seconds)
            try:
                info = await self._source.hub.info()
            except UnavailableError as error:
                ports.telemetry.failed(error.dependency)
                continue
            incarnations.saw(self._source.config.name, info.incarnation)
            self._add_partitions(assignment, info.partition_ids)

    def _add_partitions(self, assignment: Assignment, partition_ids: Sequence[str]) -> None:
        label = self._source.label
        added = [partition for partition in partition_ids if label + partition not in self.partitions]
        if added:
            self._shared.ports.telemetry.partitions_added(self._source.config.name, added)
            self.partitions = [*self.partitions, *(label + partition for partition in added)]
            assignment.add_partitions(added)
