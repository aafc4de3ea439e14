"""When a partition's finished position is saved to the checkpoint store."""

from __future__ import annotations

import asyncio

from dedup_service.core.leases import Lease
from dedup_service.core.progress import Position
from dedup_service.errors import Dependency, DependencyKind, UnavailableError
from dedup_service.ports.clock import Clock
from dedup_service.ports.ownership import Checkpoints
from dedup_service.telemetry import Telemetry

LAST_SAVE_SECONDS = 1.0
STORE = Dependency(DependencyKind.CHECKPOINTS)


class Checkpointer:
    """Saves beside the work, which does not wait for the store: replays are recognised by their confirmed claims."""

    def __init__(
        self, store: Checkpoints, lease: Lease, clock: Clock, telemetry: Telemetry, interval_seconds: float
    ) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self._telemetry = telemetry
        self._interval_seconds = interval_seconds
        self._finished: Position | None = None
        self._saved: Position | None = None
        self._due_at = 0.0
        self._idle_due_at = 0.0
        self._saving: asyncio.Task[None] | None = None

    def restart(self, finished: Position | None) -> None:
        """The partition is read from here on; nothing behind this position has been saved."""
        self._finished = finished
        self._saved = None

    async def settle(self) -> None:
        """Waits for a save under way, which must not overwrite what is saved next."""
        if self._saving is not None:
            await asyncio.wait({self._saving})

    def save_if_due(self, *, idle: bool) -> None:
        """Every interval, and at once when the partition goes idle, which counts once in an interval: where events trickle
        in, it goes idle after each of them."""
        self._follow_record()
        now = self._clock.monotonic()
        is_saving = self._saving is not None and not self._saving.done()
        is_idle = idle and self._is_recorded and now >= self._idle_due_at
        if self._finished == self._saved or is_saving or (now < self._due_at and not is_idle):
            return
        if now < self._due_at:
            self._idle_due_at = now + self._interval_seconds
        self._due_at = now + self._interval_seconds
        self._saving = asyncio.create_task(self._save())

    @property
    def _is_recorded(self) -> bool:
        """Whether the record holds all that is finished: a save before that would have to be followed by another one."""
        record, written = self._lease.record, self._lease.written
        return record is None or (written is not None and written.finished == record.finished)

    def _follow_record(self) -> None:
        """A checkpoint never passes the record in Redis: where it does, Redis has forgotten (partitions/takeover.py)."""
        if self._lease.written is not None:
            self._finished = self._lease.written.finished

    async def close(self) -> None:
        """Saves what is finished and recorded, as far as the store answers soon: a slow one is not waited for, since the
        next owner starts from the record. To be called before the lease is released: a save that lands after the next
        owner's would move the checkpoint back."""
        saving = asyncio.create_task(self._last_save())
        await asyncio.wait({saving}, timeout=LAST_SAVE_SECONDS)

    async def _last_save(self) -> None:
        if self._saving is not None:
            await self._saving
        if not self._lease.is_lost:
            self._follow_record()
            await self._save()

    async def _save(self) -> None:
        position = self._finished
        if position is None or position == self._saved:
            return
        try:
            await self._store.save(self._lease.partition_id, position)
        except UnavailableError as error:
            self._telemetry.unavailable(error.dependency, error.problem)
        except Exception as error:  # noqa: BLE001  # a defect; the next save tries again
            self._telemetry.worker_failed(self._lease.partition_id, error)
        else:
            self._telemetry.available(STORE)
            self._saved = position
