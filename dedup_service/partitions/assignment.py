"""Decides on which partitions this pod works: renews its leases, takes free ones up to its share, and gives up any above
it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dedup_service.core.leases import Lease, Renewal, fair_share
from dedup_service.errors import Dependency, DependencyKind, UnavailableError
from dedup_service.partitions.worker import PartitionWorker
from dedup_service.ports import Leases, Publisher
from dedup_service.processing.shared import Shared
from dedup_service.telemetry import Count

REDIS = Dependency(DependencyKind.REDIS)
BACKGROUND_SECONDS = 2.0
"""How long to wait for tasks that were cancelled during a network call."""


@dataclass(frozen=True, slots=True)
class AssignmentOptions:
    interval_seconds: float
    """Interval of renewals, each one script call for all partitions."""
    sample_interval_seconds: float
    """Interval of samples of the clean stream's end, which one pod takes for all."""


class Assignment:
    def __init__(
        self,
        pod_id: str,
        partition_ids: list[str],
        options: AssignmentOptions,
        leases: Leases,
        shared: Shared,
        make_worker: Callable[[Lease], PartitionWorker],
    ) -> None:
        self._pod_id = pod_id
        self._partition_ids = partition_ids
        self._options = options
        self._leases = leases
        self._shared = shared
        self._clock = shared.ports.clock
        self._telemetry = shared.ports.telemetry
        self._make_worker = make_worker
        self._workers: dict[str, tuple[PartitionWorker, asyncio.Task[None]]] = {}
        self._sampling: asyncio.Task[None] | None = None

    def add_partitions(self, partition_ids: Sequence[str]) -> None:
        """From the next round on, they are shared like the others."""
        self._partition_ids = [*self._partition_ids, *partition_ids]
        self._leases.add_partitions(partition_ids)

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop`; then every partition is finished, recorded, checkpointed and released."""
        try:
            while not stop.is_set():
                await self._round()
                await self._pause(stop)
        finally:
            await self._leave()

    async def _pause(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        pausing = asyncio.create_task(self._clock.sleep(self._options.interval_seconds))
        try:
            await asyncio.wait({stopping, pausing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            pausing.cancel()

    async def _round(self) -> None:
        self._workers = {p: (worker, task) for p, (worker, task) in self._workers.items() if not task.done()}
        try:
            renewal = await self._leases.renew(self._pod_id, self._held())
            self._apply(renewal)
            await self._balance(renewal)
        except UnavailableError as error:
            self._telemetry.unavailable(error.dependency, error.problem)
            return
        except Exception as error:  # noqa: BLE001  # a defect must not end the pod: the next round tries again
            self._telemetry.worker_failed("assignment", error)
            return
        self._telemetry.available(REDIS)
        self._sample()

    def _held(self) -> list[Lease]:
        return [worker.lease for worker, _ in self._workers.values() if not worker.lease.is_lost]

    def _apply(self, renewal: Renewal) -> None:
        if renewal.sample is not None:
            self._shared.newest_sample.end_offsets = renewal.sample
        self._telemetry.add(Count.LEASES_LOST, len(renewal.lost))
        for worker, _ in self._workers.values():
            if worker.lease.is_lost:  # even if another call found out: the answer of an earlier renewal may have been lost
                worker.stop("the lease was lost")

    async def _balance(self, renewal: Renewal) -> None:
        share = fair_share(renewal.pods, self._pod_id, len(self._partition_ids))
        mine = sorted(self._workers, key=int)
        for partition in mine[share:]:
            self._workers[partition][0].stop("given up to another pod")
        wanted = [partition for partition in renewal.free if partition not in self._workers]
        for partition in wanted[: max(0, share - len(mine))]:
            lease = await self._leases.take(self._pod_id, partition)
            if lease is not None:
                self._start(lease)

    def _start(self, lease: Lease) -> None:
        worker = self._make_worker(lease)
        task = asyncio.create_task(worker.run(), name=f"partition-{lease.partition_id}")
        self._workers[lease.partition_id] = (worker, task)

    # --- samples

    def _sample(self) -> None:
        clean = self._shared.ports.clean
        if clean is not None and (self._sampling is None or self._sampling.done()):
            self._sampling = asyncio.create_task(self._take_sample(clean))

    async def _take_sample(self, clean: Publisher) -> None:
        try:
            if await self._leases.may_sample(self._options.sample_interval_seconds):
                await self._leases.save_sample(await clean.ends())
        except UnavailableError as error:  # an older sample is safe: resolving only reads more
            self._telemetry.failed(error.dependency)
        except Exception as error:  # noqa: BLE001  # a defect; the next sample is taken all the same
            self._telemetry.worker_failed("assignment", error)

    # --- the end

    async def _leave(self) -> None:
        for worker, _ in self._workers.values():
            worker.stop("released")
        all_left = asyncio.Event()
        renewing = asyncio.create_task(self._keep_leases(all_left))
        await asyncio.gather(*(task for _, task in self._workers.values()), return_exceptions=True)
        all_left.set()
        background = {renewing} | ({self._sampling} if self._sampling is not None else set())
        for task in background:
            task.cancel()
        await asyncio.wait(background, timeout=BACKGROUND_SECONDS)
        try:
            await self._leases.leave(self._pod_id)
        except UnavailableError as error:
            self._telemetry.unavailable(error.dependency, error.problem)
        except Exception as error:  # noqa: BLE001  # a defect; the others stop counting on this pod after a while
            self._telemetry.worker_failed("assignment", error)

    async def _keep_leases(self, all_left: asyncio.Event) -> None:
        """Renews while the last batches are finished. It also checks the event, since a client library may swallow a
        cancellation."""
        while not all_left.is_set():
            try:
                self._apply(await self._leases.renew(self._pod_id, self._held()))
            except UnavailableError as error:
                self._telemetry.unavailable(error.dependency, error.problem)
            except Exception as error:  # noqa: BLE001  # a defect; the last batches are finished as far as the leases last
                self._telemetry.worker_failed("assignment", error)
            await self._clock.sleep(self._options.interval_seconds)

    @property
    def is_working(self) -> bool:
        """False when a worker has ended with an error."""
        ended = [task for _, task in self._workers.values() if task.done()]
        return not any(task.cancelled() or task.exception() is not None for task in ended)
