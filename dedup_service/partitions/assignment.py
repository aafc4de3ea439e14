"""Decides on which partitions this pod works: renews its leases, takes free ones up to its share, and gives up any above
it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from dedup_service.core.leases import Lease, Renewal, fair_share
from dedup_service.errors import Dependency, DependencyKind, UnavailableError
from dedup_service.partitions.giving_up import GivingUp
from dedup_service.partitions.sampling import Sampling
from dedup_service.partitions.worker import PartitionWorker
from dedup_service.ports.ownership import Leases, Precedence
from dedup_service.processing.shared import Shared
from dedup_service.telemetry import Count, Waits

REDIS = Dependency(DependencyKind.REDIS)
BACKGROUND_SECONDS = 2.0
"""How long to wait for tasks that were cancelled during a network call."""
LEFT_ALONE_SECONDS = 10.0
"""A partition that is free for so long is taken by any pod, whatever its share."""


class Assignment:
    def __init__(
        self,
        pod_id: str,
        partition_ids: list[str],
        interval_seconds: float,
        leases: Leases,
        precedence: Precedence,
        shared: Shared,
        sampling: Sampling,
        make_worker: Callable[[Lease], PartitionWorker],
        probe: Callable[[], Awaitable[object]],
    ) -> None:
        """`interval_seconds`: of renewals, each one script call for all partitions. `probe` asks everything that a worker
        needs, and raises UnavailableError."""
        self._pod_id = pod_id
        self._partition_ids = partition_ids
        self._interval_seconds = interval_seconds
        self._leases = leases
        self._precedence = precedence
        self._shared = shared
        self._clock = shared.ports.clock
        self._telemetry = shared.ports.telemetry
        self._make_worker = make_worker
        self._workers: dict[str, tuple[PartitionWorker, asyncio.Task[None]]] = {}
        self._sampling = sampling
        self._giving_up = GivingUp(self._clock, self._telemetry, probe)
        self._free_since: dict[str, float] = {}
        self._waits_for: Waits | None = None

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
        pausing = asyncio.create_task(self._clock.sleep(self._interval_seconds))
        try:
            await asyncio.wait({stopping, pausing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            pausing.cancel()

    async def _round(self) -> None:
        self._workers = {p: (worker, task) for p, (worker, task) in self._workers.items() if not task.done()}
        try:
            renewal = await self._renew()
            self._giving_up.review([worker for worker, _ in self._workers.values()], renewal)
            waits_for = await self._others_first(renewal)
            self._wait_for(waits_for)
            if waits_for is None:
                await self._balance(renewal)
        except UnavailableError as error:
            self._telemetry.unavailable(error.dependency, error.problem)
            return
        except Exception as error:  # noqa: BLE001  # a defect must not end the pod: the next round tries again
            self._telemetry.worker_failed("assignment", error)
            return
        self._telemetry.available(REDIS)
        self._sampling.take_if_due()

    async def _renew(self) -> Renewal:
        presence = self._giving_up.presence(worker for worker, _ in self._workers.values())
        renewal = await self._leases.renew(self._pod_id, self._held(), presence)
        self._apply(renewal)
        return renewal

    def _held(self) -> list[Lease]:
        return [worker.lease for worker, _ in self._workers.values() if not worker.lease.is_lost]

    def _apply(self, renewal: Renewal) -> None:
        self._sampling.saw(renewal.sample)
        self._telemetry.add(Count.LEASES_LOST, len(renewal.lost))
        for worker, _ in self._workers.values():
            if worker.lease.is_lost:  # even if another call found out: the answer of an earlier renewal may have been lost
                worker.stop("the lease was lost")

    async def _others_first(self, renewal: Renewal) -> Waits | None:
        if renewal.must_wait:
            return Waits.CONFIGURATION
        return Waits.PUBLISHING if await self._precedence.must_wait() else None

    def _wait_for(self, others: Waits | None) -> None:
        if others is not None:
            self._free_since = {}
            for worker, _ in self._workers.values():
                worker.stop(f"given up to {others}")
        if others is not self._waits_for:
            self._waits_for = others
            self._telemetry.waits_for_others(others)

    async def _balance(self, renewal: Renewal) -> None:
        """Those that were held longest go first, so that a partition which others left alone is not left alone again."""
        share = fair_share(renewal.pods, self._pod_id, len(self._partition_ids))
        mine = list(self._workers)
        if self._giving_up.takes_part:
            for partition in mine[: max(0, len(mine) - share)]:
                self._workers[partition][0].stop("given up to another pod")
        for partition in self._wanted(renewal.free, share - len(mine)):
            lease = await self._leases.take(self._pod_id, partition)
            if lease is not None:
                self._start(lease)

    def _wanted(self, free: list[str], missing: int) -> list[str]:
        """As many as this pod lacks, and any that nobody takes: the pod in whose share it is may be unable to work on it."""
        now = self._clock.monotonic()
        self._free_since = {partition: self._free_since.get(partition, now) for partition in free}
        wanted = [p for p in free if p not in self._workers and self._giving_up.may_take(p)]
        left_alone = [p for p in wanted if now - self._free_since[p] >= LEFT_ALONE_SECONDS]
        return list(dict.fromkeys([*wanted[: max(0, missing)], *left_alone]))

    def _start(self, lease: Lease) -> None:
        worker = self._make_worker(lease)
        task = asyncio.create_task(worker.run(), name=f"partition-{lease.partition_id}")
        self._workers[lease.partition_id] = (worker, task)

    # --- the end

    async def _leave(self) -> None:
        for worker, _ in self._workers.values():
            worker.stop("released")
        all_left = asyncio.Event()
        renewing = asyncio.create_task(self._keep_leases(all_left))
        await asyncio.gather(*(task for _, task in self._workers.values()), return_exceptions=True)
        all_left.set()
        self._giving_up.close()
        renewing.cancel()
        background = {renewing} | self._sampling.close()
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
                await self._renew()
            except UnavailableError as error:
                self._telemetry.unavailable(error.dependency, error.problem)
            except Exception as error:  # noqa: BLE001  # a defect; the last batches are finished as far as the leases last
                self._telemetry.worker_failed("assignment", error)
            await self._clock.sleep(self._interval_seconds)

    @property
    def is_working(self) -> bool:
        """False when a worker has ended with an error."""
        ended = [task for _, task in self._workers.values() if task.done()]
        return not any(task.cancelled() or task.exception() is not None for task in ended)
