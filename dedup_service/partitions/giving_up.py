"""Gives up the partitions on which this pod stands still while others get on, and decides when it may take some again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from dedup_service.core.leases import Presence, Renewal
from dedup_service.core.stalls import HOLD_SECONDS, is_hopeless
from dedup_service.errors import UnavailableError
from dedup_service.partitions.worker import PartitionWorker
from dedup_service.ports.clock import Clock
from dedup_service.telemetry import Count, Telemetry
from dedup_service.waiting import Activity

PROBE_SECONDS = 10.0
"""Interval of the questions to the hubs of a pod that has no partition, or takes no part."""


@dataclass(slots=True)
class GivingUp:
    clock: Clock
    telemetry: Telemetry
    probe: Callable[[], Awaitable[object]]
    """Asks everything that a worker needs, and raises UnavailableError when one of it does not answer."""
    _declined: dict[str, float] = field(default_factory=dict)
    """Partition → until when it is not taken back."""
    _away_until: float | None = None
    """While this pod takes no part: when it may come back at the earliest. It must reach everything first."""
    _probing: asyncio.Task[None] | None = None
    _probed_at: float = float("-inf")
    _progressed_at: float | None = None
    _stands_still: bool = False
    """Nothing that this pod does gets on: it would only keep from others what it took."""

    @property
    def takes_part(self) -> bool:
        return self._away_until is None

    def may_take(self, partition_id: str) -> bool:
        is_able = self.takes_part and not self._stands_still
        return is_able and self.clock.monotonic() >= self._declined.get(partition_id, float("-inf"))

    def presence(self, workers: Iterable[PartitionWorker]) -> Presence:
        """What to tell the other pods."""
        progress = [worker.activity.progressed_at for worker in workers if not worker.activity.is_stalled]
        self._progressed_at = max(progress, default=self._progressed_at)
        ago = None if self._progressed_at is None else self.clock.monotonic() - self._progressed_at
        return Presence(self.takes_part, ago)

    def review(self, workers: Iterable[PartitionWorker], renewal: Renewal) -> None:
        """Stops what is hopeless. A pod on which nothing gets on leaves everything to the others."""
        workers = [worker for worker in workers if not worker.is_stopping]
        now = self.clock.monotonic()
        hopeless = [worker for worker in workers if _is_hopeless(worker.activity, now, renewal.others_progressed_ago)]
        for worker in hopeless:
            worker.stop("given up: other pods get on, and this one does not")
            self._declined[worker.lease.partition_id] = now + HOLD_SECONDS
        self.telemetry.add(Count.GIVEN_UP, len(hopeless))
        if workers:
            self._stands_still = all(worker.activity.is_stalled for worker in workers)
        if hopeless and self._stands_still:
            self._away_until = now + HOLD_SECONDS
            self.telemetry.takes_no_part(HOLD_SECONDS)
        self._probe_if_due(has_work=bool(workers))

    def _probe_if_due(self, *, has_work: bool) -> None:
        """Beside the renewals, which do not wait for the answer. An idle pod has no other way to know that it could work."""
        is_needed = not (has_work and self.takes_part)
        is_probing = self._probing is not None and not self._probing.done()
        if is_needed and not is_probing and self.clock.monotonic() - self._probed_at >= PROBE_SECONDS:
            self._probed_at = self.clock.monotonic()
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        try:
            await self.probe()
        except UnavailableError as error:
            self.telemetry.failed(error.dependency)
            self._stands_still = True
            return
        except Exception as error:  # noqa: BLE001  # a defect; asked again
            self.telemetry.worker_failed("assignment", error)
            return
        self._progressed_at, self._stands_still = self.clock.monotonic(), False
        if self._away_until is not None and self._progressed_at >= self._away_until:
            self._away_until = None
            self.telemetry.takes_part_again()

    def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()


def _is_hopeless(activity: Activity, now: float, others_progressed_ago: float) -> bool:
    return is_hopeless(now, activity.taken_at, activity.stalled_since, others_progressed_ago)
