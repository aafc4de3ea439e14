"""Where the clean stream ends. The question costs the clean hub a call for each of its partitions, so one pod asks for all,
and nobody asks while nothing is sent."""

from __future__ import annotations

import asyncio

from dedup_service.core.leases import EndOffsets
from dedup_service.errors import UnavailableError
from dedup_service.ports.hubs import Publisher
from dedup_service.ports.ownership import Leases
from dedup_service.processing.shared import Shared

IDLE_SECONDS = 60.0
"""Interval of samples while nobody sends. Others may write to the clean hub, too, and what they have written would have to
be read back with what is sent next."""
WAIT_SECONDS = 0.1
"""How long to wait for a sample that another pod is taking."""


class Sampling:
    def __init__(self, shared: Shared, leases: Leases, interval_seconds: float) -> None:
        self._shared = shared
        self._clock = shared.ports.clock
        self._telemetry = shared.ports.telemetry
        self._leases = leases
        self._interval_seconds = interval_seconds
        self._taking: asyncio.Task[None] | None = None
        self._asking = asyncio.Lock()

    def saw(self, sample: EndOffsets | None) -> None:
        """A pod has taken this one."""
        self._shared.newest_sample.saw(sample)

    def take_if_due(self) -> None:
        """Takes one beside the work, which does not wait for it."""
        clean = self._shared.ports.clean
        if clean is not None and (self._taking is None or self._taking.done()):
            self._taking = asyncio.create_task(self._take_if_due(clean))

    async def _take_if_due(self, clean: Publisher) -> None:
        sends = self._shared.newest_sample.is_behind
        try:
            if await self._leases.may_sample(self._interval_seconds if sends else max(IDLE_SECONDS, self._interval_seconds)):
                await self._take(clean)
        except UnavailableError as error:  # an older sample is safe: resolving only reads more
            self._telemetry.failed(error.dependency)
        except Exception as error:  # noqa: BLE001  # a defect; the next sample is taken all the same
            self._telemetry.worker_failed("assignment", error)

    async def _take(self, clean: Publisher) -> EndOffsets:
        sample = await clean.ends()
        await self._leases.save_sample(sample, self._interval_seconds)
        return sample

    async def first(self) -> EndOffsets:
        """For a partition of which no owner has left a sample: one that is a moment old at most. Any that was taken before
        the first send would do. Raises UnavailableError."""
        clean = self._shared.ports.clean
        if clean is None:
            return {}
        async with self._asking:
            while True:
                recent = await self._leases.recent_sample()
                if recent is not None:
                    # What it lacks would be read back from its beginning: this pod knows other outputs than who took it.
                    is_whole = recent.keys() >= set(self._shared.clean_partitions)
                    return recent if is_whole else await clean.ends()
                if await self._leases.may_sample(self._interval_seconds):
                    return await self._take(clean)
                await self._clock.sleep(WAIT_SECONDS)

    def close(self) -> set[asyncio.Task[None]]:
        """What has to be waited for after it was cancelled."""
        if self._taking is None:
            return set()
        self._taking.cancel()
        return {self._taking}
