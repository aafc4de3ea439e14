"""Which pod reads which clean partition back. It only spares work: what two pods read is restored twice, and is the same."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from dedup_service.errors import Dependency, UnavailableError
from dedup_service.ports.claims import Markers
from dedup_service.ports.clock import Clock
from dedup_service.telemetry import Telemetry

TURN_SECONDS = 10.0
"""A pod that gets nowhere with a partition for so long leaves it to another one."""
SOON_SECONDS = 0.25
"""After so long anybody may take what was given back."""
FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 30.0
"""A pod that could not read a partition leaves it alone for a while, so that another one can try."""


@dataclass(slots=True)
class Pause:
    until: float
    """Monotonic seconds."""
    seconds: float
    failed: Dependency | None
    """What was unavailable; None after a defect."""


@dataclass(slots=True)
class Turns:
    pod_id: str
    markers: Markers
    clock: Clock
    telemetry: Telemetry
    _pauses: dict[str, Pause] = field(default_factory=dict)
    """By partition, since it could not be read."""

    async def may_begin(self, partition_id: str) -> bool:
        pause = self._pauses.get(partition_id)
        return (pause is None or self.clock.monotonic() >= pause.until) and await self.keep(partition_id)

    async def keep(self, partition_id: str) -> bool:
        return await self.markers.may_read(self.pod_id, partition_id, TURN_SECONDS)

    def keep_pauses(self, partition_ids: Container[str]) -> None:
        """What need not be read any more was read by another pod. Whether this one could is not known."""
        for partition_id in [partition for partition in self._pauses if partition not in partition_ids]:
            failed = self._pauses.pop(partition_id).failed
            if failed is not None:
                self.telemetry.forget(failed)

    async def end(self, partition_id: str) -> None:
        """The partition could be read."""
        pause = self._pauses.pop(partition_id, None)
        if pause is not None and pause.failed is not None:
            self.telemetry.available(pause.failed)
        await self.markers.may_read(self.pod_id, partition_id, SOON_SECONDS)

    async def decline(self, partition_id: str, error: UnavailableError | None = None) -> None:
        """The partition could not be read. The turn goes to whoever can."""
        before = self._pauses.get(partition_id)
        seconds = FIRST_PAUSE_SECONDS if before is None else min(2 * before.seconds, MAX_PAUSE_SECONDS)
        if before is not None and before.failed is not None:
            self.telemetry.forget(before.failed)
        failed = None if error is None else error.dependency
        if error is not None:
            self.telemetry.unavailable(error.dependency, error.problem)
        self._pauses[partition_id] = Pause(self.clock.monotonic() + seconds, seconds, failed)
        try:
            await self.markers.may_read(self.pod_id, partition_id, SOON_SECONDS)
        except UnavailableError as away:  # then the turn ends by itself
            self.telemetry.failed(away.dependency)
