"""One leased partition: read and process, until told to stop or the lease is lost."""

from __future__ import annotations

from dataclasses import dataclass

from dedup_service.core.events import InputEvent
from dedup_service.core.leases import Lease, TakeoverState
from dedup_service.errors import (
    Dependency,
    DependencyKind,
    HubRecreatedError,
    LeaseLostError,
    StoppingError,
    UnavailableError,
)
from dedup_service.partitions.checkpointing import Checkpointer
from dedup_service.partitions.hub_end import HubEnd
from dedup_service.partitions.input_ports import InputPorts
from dedup_service.partitions.sampling import Sampling
from dedup_service.partitions.takeover import Takeover
from dedup_service.ports.hubs import PartitionReader, PartitionState
from dedup_service.ports.ownership import Leases
from dedup_service.processing.beginning import AHEAD_EVENTS, Beginning
from dedup_service.processing.pipeline import Pipeline
from dedup_service.processing.shared import Shared
from dedup_service.telemetry import PartitionFigures
from dedup_service.waiting import FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, Activity, Retrier, Stop
from wire.backoff import pause_seconds

IDLE_WAIT_SECONDS = 0.5
REOPEN_SECONDS = 1.0
SILENCE_SECONDS = 15.0
"""How long a reader may stay empty before the hub's metadata is asked whether events are waiting."""
STALLED_SILENCE_SECONDS = 3.0
"""The same after a failure: only an answer shows that the partition is read again."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    start_at: str | int
    """`earliest`, `latest`, or an enqueued time in ms since the epoch."""
    checkpoint_interval_seconds: float
    ahead_events: int = AHEAD_EVENTS
    """See `Beginning`."""


class PartitionWorker:
    def __init__(
        self,
        lease: Lease,
        source: InputPorts,
        shared: Shared,
        leases: Leases,
        sampling: Sampling,
        options: WorkerOptions,
    ) -> None:
        ports = shared.ports
        self.lease = lease
        self._partition_id = lease.partition_id
        self._label = source.label + lease.partition_id
        self._source = source
        self._shared = shared
        self._leases = leases
        self._ahead_events = options.ahead_events
        self._clock = ports.clock
        self._telemetry = ports.telemetry
        self._reading = Dependency(DependencyKind.INPUT_HUB_READING, source.hub.dependency.name, lease.partition_id)
        self._stop = Stop(ports.clock)
        self._reason = "stopped"
        self._unread_since: float | None = None
        """When reading failed first, if nothing was read since."""
        self._figures = PartitionFigures()
        self.activity = Activity(ports.clock, self._figures)
        self._retrier = Retrier(ports.clock, ports.telemetry, self._stop, self.activity)
        self._takeover = Takeover(lease, source, shared, leases, sampling, self._retrier, options.start_at)
        self._checkpointer = Checkpointer(
            source.checkpoints, lease, ports.clock, ports.telemetry, options.checkpoint_interval_seconds
        )
        self._hub_end = HubEnd(source.hub, lease.partition_id, self._figures, ports.clock, ports.telemetry)

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_asked

    def stop(self, reason: str) -> None:
        """The batch under way is finished first."""
        if not self._stop.is_asked:
            self._reason = reason
            self._stop.ask()

    async def run(self) -> None:
        """Until stopped, or the lease is lost. At the end everything finished is in record and checkpoint, and the lease,
        if it is still held, is released."""
        self._telemetry.partitions[self._label] = self._figures
        try:
            await self._work()
        except (LeaseLostError, StoppingError) as error:
            self.stop(str(error))
        finally:
            await self._leave()

    async def _work(self) -> None:
        pipeline: Pipeline | None = None
        is_recreated = False
        while not self._stop.is_asked:
            try:
                if pipeline is None:
                    pipeline = await self._begin(is_recreated=is_recreated)
                    is_recreated = False
                await self._read(pipeline)
            except UnavailableError as error:
                self.activity.fails(self._clock.monotonic())
                self._telemetry.unavailable(error.dependency, error.problem)
                await self._clock.sleep(self._pause_seconds())
            except HubRecreatedError as error:
                self._telemetry.hub_recreated(self._label, str(error))
                pipeline, is_recreated = None, True
                await self._checkpointer.settle()
                self.lease.written = None  # it is of the hub of before
                self._checkpointer.restart(None)
            except (LeaseLostError, StoppingError):
                raise
            except Exception as error:  # noqa: BLE001  # a defect, but not of an event: all is tried again, and others go on
                self.activity.fails(self._clock.monotonic())
                self._telemetry.worker_failed(self._label, error)
                await self._clock.sleep(REOPEN_SECONDS)

    def _pause_seconds(self) -> float:
        now = self._clock.monotonic()
        self._unread_since = now if self._unread_since is None else self._unread_since
        return pause_seconds(now - self._unread_since, first=FIRST_BACKOFF_SECONDS, most=MAX_BACKOFF_SECONDS)

    async def _begin(self, *, is_recreated: bool) -> Pipeline:
        state = await (self._takeover.start_again() if is_recreated else self._takeover.take_over())
        self._checkpointer.restart(state.finished)
        self._show_begin(state)
        start = self._takeover.start_position(state.finished)
        self._telemetry.partition_taken(self._label, start, self.lease.epoch)
        beginning = Beginning(self.lease, self._leases, self._retrier, self._ahead_events)
        return Pipeline(self._shared, self._retrier, state, self._source.retention, beginning)

    def _show_begin(self, state: TakeoverState) -> None:
        figures, finished = self._figures, state.finished
        figures.sequence_number = finished.sequence_number if finished else -1
        start = self._takeover.start_position(finished)
        figures.enqueued_ms = finished.enqueued_ms if finished else (start.enqueued_ms or 1) - 1
        figures.last_enqueued_ms = figures.oldest_ms = 0
        figures.saw_end(state.last_enqueued_ms, is_behind=state.is_behind)

    async def _read(self, pipeline: Pipeline) -> None:
        """Opens a reader and processes what it delivers, until the reader ends."""
        start = self._takeover.start_position(pipeline.progress.finished)
        reader = self._source.hub.open(self._partition_id, start, owner_level=self.lease.epoch)
        try:
            try:
                await self._pump(reader, pipeline)
            finally:
                reader.close()
        except UnavailableError as error:
            if not error.cut_off:  # otherwise it is asked once the reader delivers, or when that stays empty
                await self._check_hub(pipeline)
            raise

    async def _pump(self, reader: PartitionReader, pipeline: Pipeline) -> None:
        figures = self._figures
        heard_at, is_checked = self._clock.monotonic(), False
        while not self._stop.is_asked:
            events = await reader.read(IDLE_WAIT_SECONDS)
            if events and not is_checked:
                if (clean := self._shared.ports.clean) is not None:
                    clean.reopen()  # what cut the reader off may have cut the senders off, too
                await self._check_hub(pipeline)
                is_checked = True
            if events:
                heard_at, self._unread_since = self._clock.monotonic(), None
                self._telemetry.available(self._reading)
                figures.enqueued_ms = max(figures.enqueued_ms, events[0].enqueued_ms - 1)
                figures.last_enqueued_ms = max(figures.last_enqueued_ms, events[-1].enqueued_ms)
                self._observe_age(events[0], figures)
                await pipeline.process(events)
                self.activity.progressed()
            elif self._clock.monotonic() - heard_at >= self._silence_seconds:
                heard_at = self._clock.monotonic()
                await self._check_silence(pipeline)
            finished = pipeline.progress.finished
            if finished is not None:
                figures.sequence_number = finished.sequence_number
                figures.enqueued_ms = max(figures.enqueued_ms, finished.enqueued_ms)
            self._checkpointer.save_if_due(idle=not events)
            self._hub_end.ask_if_due(finished)

    @property
    def _silence_seconds(self) -> float:
        return STALLED_SILENCE_SECONDS if self.activity.is_stalled else SILENCE_SECONDS

    def _observe_age(self, oldest: InputEvent, figures: PartitionFigures) -> None:
        """The service can't read the hub's retention, but an event that is older than the setting disproves it."""
        now_ms, retention = self._clock.now_ms(), self._source.retention
        figures.oldest_ms = max(figures.oldest_ms, now_ms - oldest.enqueued_ms)
        if retention.observe(oldest.enqueued_ms, now_ms):
            self._telemetry.retention_disproved(self._source.config.name, retention.configured_ms, retention.oldest_ms)

    async def _check_hub(self, pipeline: Pipeline, max_age_seconds: float = 0.0) -> PartitionState | None:
        """After a reader ended, or has delivered its first event: is it still the same hub, and do its numbers go on where
        they were? Returns what the hub says of the partition, or None when this pod is to stop. Raises HubRecreatedError.

        Asked again once the reader delivers, since the hub may have been replaced between the last answer and its opening.
        """
        if self._stop.is_asked:
            return None
        info, state = await self._takeover.hub_state(max_age_seconds)
        if info.incarnation != pipeline.incarnation:
            raise HubRecreatedError(f"partition {self._partition_id}: the input hub was recreated")
        finished = pipeline.progress.finished
        if finished is not None and state.went_back(finished):
            raise HubRecreatedError(
                f"partition {self._partition_id}: event {finished.sequence_number} was finished, but the hub has lost it "
                "and gives its number to another event"
            )
        return state

    async def _check_silence(self, pipeline: Pipeline) -> None:
        """Nothing came for a while. Is there nothing, has the connection died without a word, or is this another hub, whose
        events are still behind the place where this reader waits?"""
        state = await self._check_hub(pipeline, self._silence_seconds)
        if state is None:
            return
        finished = pipeline.progress.finished
        self._hub_end.saw(state, finished)
        if finished is not None and state.has_more_than(finished):
            raise UnavailableError(self._reading, f"events wait in partition {self._partition_id}, but none arrives")
        self._telemetry.available(self._reading)
        self.activity.progressed()

    async def _leave(self) -> None:
        """The record first, which the checkpoint must not pass; then the checkpoint; then the release."""
        self._hub_end.close()
        await self._write_record(release=False)
        await self._checkpointer.close()
        await self._write_record(release=True)
        self._telemetry.forget(self._reading)
        self._telemetry.partition_left(self._label, self._reason)

    async def _write_record(self, *, release: bool) -> None:
        record = self.lease.record
        if not self.lease.is_lost and record is not None and (release or record != self.lease.written):
            try:
                await self._leases.write(self.lease, record, release=release)
            except UnavailableError as error:  # then the lease ends at its deadline
                self._telemetry.unavailable(error.dependency, error.problem)
            except Exception as error:  # noqa: BLE001  # a defect; the lease ends at its deadline, too
                self._telemetry.worker_failed(self._label, error)
