"""One input hub: the partitions of it that this pod owns, on their way into the clean stream.

Several inputs, for instance the IoT Hubs of two regions, share the claims: a copy through one is a duplicate of a copy
through the other. Each waits for its own hub, so that one region that is away does not hold up the other.
"""

from __future__ import annotations

import asyncio
from functools import partial

from dedup_service.config.settings import HUB_EXAMPLE, Settings
from dedup_service.core.leases import Lease
from dedup_service.errors import UnavailableError
from dedup_service.partitions.assignment import Assignment, AssignmentOptions
from dedup_service.partitions.input_ports import InputPorts
from dedup_service.partitions.worker import PartitionWorker, WorkerOptions
from dedup_service.ports import Leases
from dedup_service.processing.shared import Shared
from dedup_service.waiting import StartupWait

WATCH_SECONDS = 15.0


class InputConsumer:
    def __init__(self, settings: Settings, source: InputPorts, shared: Shared, pod_id: str) -> None:
        self._source = source
        self._shared = shared
        self._pod_id = pod_id
        self._assignment_options = AssignmentOptions(settings.lease_interval_seconds, settings.sample_interval_seconds)
        self._worker_options = WorkerOptions(settings.start_position, settings.checkpoint_interval_seconds)
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
        self._assignment = Assignment(
            self._pod_id,
            info.partition_ids,
            self._assignment_options,
            leases,
            self._shared,
            partial(self._make_worker, leases),
        )
        watching = asyncio.create_task(self._watch_incarnation())
        try:
            await self._assignment.run(stop)
        finally:
            watching.cancel()

    def _make_worker(self, leases: Leases, lease: Lease) -> PartitionWorker:
        return PartitionWorker(lease, self._source, self._shared, leases, self._worker_options)

    async def _watch_incarnation(self) -> None:
        """Only where there are several inputs: this pod may own no partition of this one, but must know all the same when
        its hub is replaced. Otherwise it would take the old hub's claims for live ones and drop the other inputs' copies."""
        ports, incarnations = self._shared.ports, self._shared.incarnations
        while incarnations.has_several:
            await ports.clock.sleep(WATCH_SECONDS)
            try:
                info = await self._source.hub.info()
            except UnavailableError as error:
                ports.telemetry.failed(error.dependency)
            else:
                incarnations.saw(self._source.config.name, info.incarnation)
