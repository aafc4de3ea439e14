"""One leased partition: where to start, read, process, checkpoint, until told to stop or the lease is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dedup_service.core.events import InputEvent
from dedup_service.core.leases import EndOffsets, Lease, LeaseRecord
from dedup_service.core.progress import Position
from dedup_service.errors import DedupError, HubRecreatedError, LeaseLostError, StoppingError, UnavailableError
from dedup_service.ports import (
    Checkpoints,
    Clock,
    HubInfo,
    InputHub,
    Leases,
    PartitionReader,
    PartitionState,
    Publisher,
    StartPosition,
)
from dedup_service.processing.pipeline import Pipeline, TakeoverState
from dedup_service.telemetry import Telemetry
from dedup_service.waiting import Retrier

IDLE_WAIT_SECONDS = 0.5
REOPEN_SECONDS = 1.0
SILENCE_SECONDS = 15.0
"""After which an empty reader is checked against the hub's own word."""
LAST_SAVE_SECONDS = 1.0
LATEST = "latest"
BEGINNING_OFFSET = "-1"
"""Behind it comes everything that the hub still keeps."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    start_at: str | int
    """`earliest`, `latest`, or an enqueued time in ms since the epoch."""
    checkpoint_interval_seconds: float
    label: str = ""
    """Before the partition's number in logs and figures, where there are several inputs."""


@dataclass(frozen=True, slots=True)
class WorkerPorts:
    hub: InputHub
    checkpoints: Checkpoints
    leases: Leases
    clean: Publisher | None
    clock: Clock
    telemetry: Telemetry
    retrier: Retrier


class PartitionWorker:
    def __init__(
        self,
        lease: Lease,
        options: WorkerOptions,
        ports: WorkerPorts,
        make_pipeline: Callable[[TakeoverState], Pipeline],
        stopping: asyncio.Event,
    ) -> None:
        """`stopping` is also what `ports.retrying` looks at."""
        self.lease = lease
        self._partition_id = lease.partition_id
        self._reading = f"{ports.hub.what} (reading)"
        self._label = options.label + lease.partition_id
        self._options = options
        self._ports = ports
        self._make_pipeline = make_pipeline
        self._stopping = stopping
        self._reason = "stopped"
        self._recreated = False
        self._finished: Position | None = None
        self._saved: Position | None = None
        self._save_due = 0.0
        self._saving: asyncio.Task[None] | None = None

    def stop(self, reason: str) -> None:
        """The batch under way is finished first."""
        if not self._stopping.is_set():
            self._reason = reason
            self._stopping.set()

    async def run(self) -> None:
        """Until stopped, or the lease is lost. At the end everything finished is in record and checkpoint, and the lease,
        if it is still held, is released."""
        try:
            await self._work()
        except (LeaseLostError, StoppingError) as error:
            self.stop(str(error))
        finally:
            await self._leave()

    async def _work(self) -> None:
        pipeline: Pipeline | None = None
        while not self._stopping.is_set():
            try:
                if pipeline is None:
                    pipeline = await (self._start_anew() if self._recreated else self._take_over())
                await self._read(pipeline)
            except UnavailableError as error:
                self._ports.telemetry.unavailable(error.what, error.problem)
                await self._ports.clock.sleep(REOPEN_SECONDS)
            except HubRecreatedError as error:
                self._ports.telemetry.hub_recreated(self._label, str(error))
                pipeline = None
                self._recreated = True
            except (LeaseLostError, StoppingError):
                raise
            except Exception as error:  # noqa: BLE001  # a defect in one partition must not stop the others
                self._ports.telemetry.worker_failed(self._label, error)
                await self._ports.clock.sleep(REOPEN_SECONDS)

    # --- takeover: record, checkpoint, horizon, sample

    async def _take_over(self) -> Pipeline:
        run, inherited = self._ports.retrier.run, self.lease.inherited
        info, state = await self._hub_state()
        checkpoint = (await run(self._ports.checkpoints.load)).get(self._partition_id)
        if inherited is not None and inherited.incarnation != info.incarnation:
            raise HubRecreatedError(f"partition {self._partition_id}: the record is of another hub of this name")
        recorded = inherited.finished if inherited is not None else None
        known = [position for position in (checkpoint, recorded) if position is not None]
        finished = max(known, key=lambda position: position.sequence_number, default=None)
        if finished is not None and finished.sequence_number > state.last_sequence_number:
            if inherited is not None:  # the same hub, so its answer is stale
                raise UnavailableError(self._ports.hub.what, f"its end of partition {self._partition_id} is not up to date")
            raise HubRecreatedError(
                f"partition {self._partition_id}: {finished.sequence_number} was finished, and the hub ends at "
                f"{state.last_sequence_number}"
            )
        if finished is None:
            finished = await self._pin(state)
        return await self._begin(info, state, finished, inherited.sample if inherited else None)

    async def _hub_state(self) -> tuple[HubInfo, PartitionState]:
        run, hub = self._ports.retrier.run, self._ports.hub
        return await asyncio.gather(run(hub.info), run(partial(hub.partition_state, self._partition_id)))

    async def _begin(
        self, info: HubInfo, state: PartitionState, finished: Position | None, sample: EndOffsets | None
    ) -> Pipeline:
        """The record is written before the first send: the next owner needs its sample."""
        if sample is None:
            sample = await self._ports.retrier.run(self._ports.clean.ends) if self._ports.clean else {}
        self._finished = finished
        record = LeaseRecord(finished, sample, info.incarnation)
        if not await self._ports.retrier.run(partial(self._ports.leases.write, self.lease, record)):
            raise LeaseLostError(f"another owner has partition {self._partition_id}")
        self.lease.record = record
        pipeline = self._make_pipeline(TakeoverState(self.lease, info.incarnation, state.last_sequence_number, sample))
        pipeline.progress.finished = finished
        self._ports.telemetry.partition_taken(self._label, self._start(finished), self.lease.epoch)
        return pipeline

    async def _pin(self, state: PartitionState) -> Position | None:
        """Write the first checkpoint before anything is processed: after a crash `latest` would be a later place.

        A time is its own pin: it names the same place again after a crash.
        """
        if isinstance(self._options.start_at, int):
            return None
        position = _beginning(state)
        if self._options.start_at == LATEST:
            position = Position(state.last_sequence_number, state.last_offset, state.last_enqueued_ms)
        await self._ports.retrier.run(partial(self._ports.checkpoints.save, self._partition_id, position))
        return position

    async def _start_anew(self) -> Pipeline:
        """A recreated hub is read from its beginning, wherever the operator wanted to start in the old one: nothing in it
        has been seen. Claims name the incarnation, so the old hub's do not match."""
        info, state = await self._hub_state()
        beginning = _beginning(state)
        await self._ports.retrier.run(partial(self._ports.checkpoints.save, self._partition_id, beginning))
        self._saved = None
        pipeline = await self._begin(info, state, beginning, None)
        self._recreated = False
        return pipeline

    def _start(self, finished: Position | None) -> StartPosition:
        if finished is None:
            assert isinstance(self._options.start_at, int)
            return StartPosition(enqueued_ms=self._options.start_at)
        return StartPosition(offset=finished.offset)

    # --- read and process

    async def _read(self, pipeline: Pipeline) -> None:
        """One reader's life."""
        start = self._start(pipeline.progress.finished)
        reader = self._ports.hub.open(self._partition_id, start, owner_level=self.lease.epoch)
        try:
            try:
                await self._pump(reader, pipeline)
            finally:
                reader.close()
        except UnavailableError:
            await self._check_hub(pipeline)
            raise

    async def _check_hub(self, pipeline: Pipeline) -> None:
        """After a reader ended, or has begun to deliver: is it still the same hub? Raises HubRecreatedError.

        Asked again once the reader delivers, since the hub may have been replaced between the last answer and its opening.
        """
        if self._stopping.is_set():
            return
        info = await self._ports.retrier.run(self._ports.hub.info)
        if info.incarnation != pipeline.incarnation:
            raise HubRecreatedError(f"partition {self._partition_id}: the input hub was created anew")

    async def _pump(self, reader: PartitionReader, pipeline: Pipeline) -> None:
        figures = self._ports.telemetry.partitions[self._label]
        heard_at, is_checked = self._ports.clock.monotonic(), False
        while not self._stopping.is_set():
            events = await reader.read(IDLE_WAIT_SECONDS)
            if events and not is_checked:
                await self._check_hub(pipeline)
                is_checked = True
            if events:
                heard_at = self._ports.clock.monotonic()
                self._ports.telemetry.available(self._reading)
                figures.last_enqueued_ms = max(figures.last_enqueued_ms, events[-1].enqueued_ms)
                await self._process(pipeline, events)
            elif self._ports.clock.monotonic() - heard_at >= SILENCE_SECONDS:
                heard_at = self._ports.clock.monotonic()
                await self._check_silence(pipeline)
            finished = pipeline.progress.finished
            if finished is not None:
                figures.sequence_number, figures.enqueued_ms = finished.sequence_number, finished.enqueued_ms
            self._finished = finished
            self._checkpoint_if_due(idle=not events)

    async def _check_silence(self, pipeline: Pipeline) -> None:
        """Nothing came for a while: is there nothing, has the connection died without a word, or is this another hub, whose
        events are still behind the place where this reader waits?"""
        await self._check_hub(pipeline)
        state = await self._ports.hub.partition_state(self._partition_id)
        self._ports.telemetry.available(self._reading)
        finished = pipeline.progress.finished
        behind = state.last_sequence_number > (finished.sequence_number if finished else -1)
        if behind and state.last_sequence_number >= state.first_sequence_number and finished is not None:
            raise UnavailableError(self._reading, f"events wait in partition {self._partition_id}, and none arrives")

    async def _process(self, pipeline: Pipeline, events: list[InputEvent]) -> None:
        """An event that makes the pipeline fail is tried alone, and given up to the dead letters if it fails again."""
        try:
            await pipeline.process(events)
        except DedupError:
            raise
        except Exception as error:  # noqa: BLE001  # a defect must not block the partition; it is counted and logged
            self._ports.telemetry.worker_failed(self._label, error)
            for event in events:
                await self._process_alone(pipeline, event)

    async def _process_alone(self, pipeline: Pipeline, event: InputEvent) -> None:
        try:
            await pipeline.process([event])
        except DedupError:
            raise
        except Exception as error:  # noqa: BLE001  # as above
            await pipeline.give_up(event, error)

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

    async def _leave(self) -> None:
        """Checkpoint, then release: a save that lands after the next owner's would move the checkpoint back. A store that is
        slow is not waited for; the next owner starts from the record."""
        saving = asyncio.create_task(self._last_save())
        await asyncio.wait({saving}, timeout=LAST_SAVE_SECONDS)
        if not self.lease.is_lost and self.lease.record is not None:
            try:
                await self._ports.leases.write(self.lease, self.lease.record, release=True)
            except UnavailableError as error:  # then the lease ends at its deadline
                self._ports.telemetry.unavailable(error.what, error.problem)
        self._ports.telemetry.partition_left(self._label, self._reason)

    async def _last_save(self) -> None:
        if self._saving is not None:
            await self._saving
        if not self.lease.is_lost:
            await self._save()


def _beginning(state: PartitionState) -> Position:
    """Nothing of what the hub still keeps is finished. The number lets others compute the lag."""
    return Position(state.first_sequence_number - 1, BEGINNING_OFFSET, enqueued_ms=0)
