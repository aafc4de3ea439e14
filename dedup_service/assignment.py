"""Which partitions this pod owns: claims and renews them in the checkpoint store, and runs a worker for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from dedup_service.core.balancing import Ownership, OwnershipWatch, wanted_partitions
from dedup_service.errors import UnavailableError
from dedup_service.ports import Checkpoints, Clock
from dedup_service.telemetry import Telemetry
from dedup_service.worker import PartitionWorker


@dataclass(frozen=True, slots=True)
class AssignmentOptions:
    interval_seconds: float
    """How often ownership is looked at: one list call to the store each time."""
    expiry_seconds: float
    """A pod that has not renewed for so long has lost its partitions. Renewals are written every third of it."""


class Assignment:
    def __init__(
        self,
        pod_id: str,
        partition_ids: list[str],
        options: AssignmentOptions,
        checkpoints: Checkpoints,
        clock: Clock,
        telemetry: Telemetry,
        make_worker: Callable[[str], PartitionWorker],
    ) -> None:
        self._pod_id = pod_id
        self._partition_ids = partition_ids
        self._options = options
        self._checkpoints = checkpoints
        self._clock = clock
        self._telemetry = telemetry
        self._make_worker = make_worker
        self._watch = OwnershipWatch(options.expiry_seconds)
        self._owned: dict[str, Ownership] = {}
        self._renewed: dict[str, float] = {}
        self._workers: dict[str, tuple[PartitionWorker, asyncio.Task[None]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then every partition is finished, checkpointed and released."""
        try:
            while not stop.is_set():
                await self._balance()
                try:
                    await asyncio.wait_for(stop.wait(), self._options.interval_seconds)
                except TimeoutError:
                    continue
        finally:
            await self._release_all()

    async def _balance(self) -> None:
        try:
            alive = self._watch.alive(await self._checkpoints.ownerships(), self._clock.monotonic())
            wanted = wanted_partitions(self._partition_ids, alive, self._pod_id)
            await self._claim(wanted, alive)
        except UnavailableError as error:
            self._telemetry.unavailable(error.what, error.problem)
        else:
            self._telemetry.available("the checkpoint store")

    async def _claim(self, wanted: set[str], alive: dict[str, Ownership]) -> None:
        """Take what is new, renew what has not been renewed lately, and drop what somebody else has taken."""
        now = self._clock.monotonic()
        for partition in [p for p in self._owned if p not in alive or alive[p].owner_id != self._pod_id]:
            self._drop(partition, "another pod took it")
        fresh = self._options.expiry_seconds / 3
        due = [p for p in sorted(wanted) if p not in self._owned or now - self._renewed[p] >= fresh]
        if not due:
            return
        etags = self._watch.etags()
        claims = [Ownership(p, self._pod_id, etags.get(p)) for p in due]
        claimed = {o.partition_id: o for o in await self._checkpoints.claim_ownership(claims)}
        for partition in due:
            if partition in claimed:
                self._owned[partition] = claimed[partition]
                self._renewed[partition] = now
                self._start(partition)
            elif partition in self._owned:
                self._drop(partition, "another pod took it")

    def _start(self, partition: str) -> None:
        if partition not in self._workers:
            worker = self._make_worker(partition)
            self._workers[partition] = (worker, asyncio.create_task(worker.run(), name=f"partition-{partition}"))

    def _drop(self, partition: str, reason: str) -> None:
        self._owned.pop(partition, None)
        self._renewed.pop(partition, None)
        if partition in self._workers:
            worker, task = self._workers.pop(partition)
            worker.stop(reason)
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _release_all(self) -> None:
        """Workers first: a partition is released when its last batch is finished and checkpointed."""
        workers = dict(self._workers)
        for worker, _ in workers.values():
            worker.stop("released")
        await asyncio.gather(*(self._release(partition, task) for partition, (_, task) in workers.items()))
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _release(self, partition: str, task: asyncio.Task[None]) -> None:
        await task
        ownership = self._owned.pop(partition, None)
        if ownership is not None:
            try:
                await self._checkpoints.claim_ownership([replace(ownership, owner_id="")])
            except UnavailableError as error:
                self._telemetry.unavailable(error.what, error.problem)

    @property
    def is_working(self) -> bool:
        """Whether every owned partition has a running worker."""
        return all(not task.done() for _, task in self._workers.values())
