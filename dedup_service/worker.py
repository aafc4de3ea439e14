"""One owned partition: where to start, read, process, checkpoint, until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dedup_service.core.progress import Position
from dedup_service.errors import HubRecreatedError, StoppingError, UnavailableError
from dedup_service.pipeline import Pipeline
from dedup_service.ports import Checkpoints, Clock, InputHub, PartitionReader, PartitionState, StartPosition
from dedup_service.retrying import Retrying
from dedup_service.telemetry import Telemetry

IDLE_WAIT_SECONDS = 0.5
REOPEN_SECONDS = 0.5
LATEST = "latest"
EARLIEST = "earliest"
BEGINNING = Position(sequence_number=-1, offset="-1", enqueued_ms=0)
"""Nothing is finished: everything that the hub still keeps is to be read."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    start_at: str | int
    """`earliest`, `latest`, or an enqueued time in ms since the epoch."""
    checkpoint_interval_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerPorts:
    hub: InputHub
    checkpoints: Checkpoints
    clock: Clock
    telemetry: Telemetry
    retrying: Retrying


class PartitionWorker:
    def __init__(
        self,
        partition_id: str,
        options: WorkerOptions,
        ports: WorkerPorts,
        make_pipeline: Callable[[int, int], Pipeline],
        stopping: asyncio.Event,
    ) -> None:
        """`make_pipeline` takes the hub's incarnation and the horizon: the last sequence number that a predecessor may have
        handled. `stopping` is also what `ports.retrying` looks at."""
        self._partition_id = partition_id
        self._options = options
        self._ports = ports
        self._make_pipeline = make_pipeline
        self._stopping = stopping
        self._reason = "stopped"
        self._incarnation: int | None = None
        self._finished: Position | None = None
        self._saved: Position | None = None
        self._save_due = 0.0
        self._saving: asyncio.Task[None] | None = None

    def stop(self, reason: str) -> None:
        """The batch under way is finished first."""
        self._reason = reason
        self._stopping.set()

    async def run(self) -> None:
        """Until stopped. Whatever ends a reader or a batch, the partition goes on from its last finished position."""
        while not self._stopping.is_set():
            try:
                await self._own()
            except StoppingError:
                break
            except UnavailableError as error:
                self._ports.telemetry.reader_ended(self._partition_id, error.problem)
                await self._ports.clock.sleep(REOPEN_SECONDS)
            except HubRecreatedError as error:
                self._ports.telemetry.hub_recreated(self._partition_id, str(error))
                self._incarnation = self._finished = self._saved = None
                save = partial(self._ports.checkpoints.save, self._partition_id, BEGINNING)
                await self._ports.retrying.run(save)
            except Exception:  # noqa: BLE001  # a defect in one partition must not stop the others; counted and logged
                self._ports.telemetry.worker_failed(self._partition_id)
                await self._ports.clock.sleep(REOPEN_SECONDS)
        self._ports.telemetry.partition_left(self._partition_id, self._reason)

    async def _own(self) -> None:
        """One reader's life."""
        run, hub = self._ports.retrying.run, self._ports.hub
        incarnation = (await run(hub.info)).incarnation
        state = await run(partial(hub.partition_state, self._partition_id))
        start = await self._start(incarnation, state)
        pipeline = self._make_pipeline(incarnation, state.last_sequence_number)
        pipeline.progress.finished = self._finished
        self._ports.telemetry.partition_taken(self._partition_id, start)
        reader = hub.open(self._partition_id, start, owner_level=self._ports.clock.now_ms() // 1000)
        try:
            await self._pump(reader, pipeline)
        finally:
            self._finished = pipeline.progress.finished
            reader.close()
            await self._last_checkpoint()

    # --- where to start

    async def _start(self, incarnation: int, state: PartitionState) -> StartPosition:
        known = self._finished
        if self._incarnation is None:
            known = (await self._ports.retrying.run(self._ports.checkpoints.load)).get(self._partition_id)
        elif incarnation != self._incarnation:
            raise HubRecreatedError(f"partition {self._partition_id}: the input hub was created anew")
        self._incarnation = incarnation
        if known is not None and known.sequence_number > state.last_sequence_number:
            raise HubRecreatedError(
                f"partition {self._partition_id}: {known.sequence_number} was finished, and the hub ends at "
                f"{state.last_sequence_number}"
            )
        return resume(known) if known is not None else await self._pin(state)

    async def _pin(self, state: PartitionState) -> StartPosition:
        """Write the first checkpoint before anything is processed: after a crash `latest` would be a later place.

        A time is its own pin: it names the same place again after a crash.
        """
        if isinstance(self._options.start_at, int):
            return StartPosition(enqueued_ms=self._options.start_at)
        position = BEGINNING
        if self._options.start_at == LATEST:
            position = Position(state.last_sequence_number, state.last_offset, state.last_enqueued_ms)
        await self._ports.retrying.run(partial(self._ports.checkpoints.save, self._partition_id, position))
        return resume(position)

    # --- read and process

    async def _pump(self, reader: PartitionReader, pipeline: Pipeline) -> None:
        telemetry = self._ports.telemetry
        while not self._stopping.is_set():
            events = await reader.read(IDLE_WAIT_SECONDS)
            figures = telemetry.partitions[self._partition_id]
            if events:
                figures.last_enqueued_ms = max(figures.last_enqueued_ms, events[-1].enqueued_ms)
                await pipeline.process(events)
            finished = pipeline.progress.finished
            if finished is not None:
                figures.sequence_number, figures.enqueued_ms = finished.sequence_number, finished.enqueued_ms
            self._finished = finished
            self._checkpoint_if_due(idle=not events)

    # --- checkpoints

    def _checkpoint_if_due(self, *, idle: bool) -> None:
        """Every interval, and at once when the partition goes idle; beside the work, which does not wait for the store."""
        now = self._ports.clock.monotonic()
        is_saving = self._saving is not None and not self._saving.done()
        if self._finished == self._saved or is_saving or (now < self._save_due and not idle):
            return
        self._save_due = now + self._options.checkpoint_interval_seconds
        self._saving = asyncio.create_task(self._save())

    async def _save(self) -> None:
        position = self._finished
        if position is None or position == self._saved:
            return
        try:
            await self._ports.checkpoints.save(self._partition_id, position)
        except UnavailableError as error:  # work goes on: replays are recognised by their confirmed claims
            self._ports.telemetry.unavailable(error.what, error.problem)
        else:
            self._ports.telemetry.available("the checkpoint store")
            self._saved = position

    async def _last_checkpoint(self) -> None:
        if self._saving is not None:
            await self._saving
        await self._save()


def resume(position: Position) -> StartPosition:
    if position.offset is not None:
        return StartPosition(offset=position.offset)
    return StartPosition(sequence_number=position.sequence_number)
