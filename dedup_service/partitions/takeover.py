"""Where a new owner starts in its partition: behind the record or the checkpoint, with a horizon and a sample."""

from __future__ import annotations

import asyncio
from functools import partial

from dedup_service.core.leases import MIXED_RULES, Lease, LeaseRecord, TakeoverState
from dedup_service.core.progress import Position
from dedup_service.errors import HubRecreatedError, LeaseLostError, UnavailableError
from dedup_service.partitions.input_ports import InputPorts
from dedup_service.partitions.sampling import Sampling
from dedup_service.ports.hubs import HubInfo, PartitionState, StartPosition
from dedup_service.ports.ownership import Leases
from dedup_service.processing.shared import Shared
from dedup_service.waiting import Retrier

LATEST = "latest"
CLOCKS_APART_MS = 5_000
"""By how much the clocks of pods and of the hub may differ."""
BEGINNING_OFFSET = "-1"
"""What the hub still keeps comes behind this offset."""


class Takeover:
    """Takes one leased partition over. All calls raise LeaseLostError and StoppingError."""

    def __init__(
        self,
        lease: Lease,
        source: InputPorts,
        shared: Shared,
        leases: Leases,
        sampling: Sampling,
        retrier: Retrier,
        start_at: str | int,
    ) -> None:
        """`start_at` is `earliest`, `latest`, or an enqueued time in ms since the epoch."""
        self._lease = lease
        self._partition_id = lease.partition_id
        self._source = source
        self._shared = shared
        self._leases = leases
        self._sampling = sampling
        self._retrier = retrier
        self._start_at = start_at

    async def take_over(self) -> TakeoverState:
        """Goes on where the predecessor stopped, or where the operator wants to start.

        Raises HubRecreatedError when the predecessor's position belongs to another hub of this name, and UnavailableError
        when the hub's answer is stale.
        """
        inherited = self._lease.inherited
        info, state = await self.hub_state()
        checkpoints = await self._retrier.run(self._source.checkpoints.load)
        checkpoint = checkpoints.get(self._partition_id)
        if inherited is not None and inherited.incarnation != info.incarnation:
            raise HubRecreatedError(f"partition {self._partition_id}: the record belongs to another hub of this name")
        await self._check_record(inherited, checkpoint, state)
        finished = _finished(inherited, checkpoint, state, is_current=self._lease.inherited_is_current)
        if finished is not None and finished.sequence_number > state.last_sequence_number:
            self._refuse_position(finished, state, is_same_hub=inherited is not None)
        horizon = self._horizon(state, finished, inherited)
        if finished is None:
            await self._begin_behind_what_was_observed(is_first=not checkpoints)
            finished = await self._pin(state)
            if finished is not None and inherited is None:  # nobody was here: the first thing that is left is this pin
                horizon = finished.sequence_number
        return await self._begin(info, state, finished, inherited, inherited.generation if inherited else 0, horizon)

    async def _begin_behind_what_was_observed(self, *, is_first: bool) -> None:
        """After observing, all partitions are published from the same moment on, the last at which pods observed: a reading
        of which copies came later is in the clean stream, whatever partition they are in. Where Redis has forgotten that
        moment, although something was published, it is taken to be the beginning of what the hub keeps."""
        observed = self._source.observed
        if observed is not None and self._partition_id in await self._retrier.run(observed.load):
            now_ms = self._shared.ports.clock.now_ms()
            until_ms = await self._retrier.run(self._source.precedence.observed_until_ms)
            proposed_ms = min(until_ms or now_ms, now_ms) if is_first else 0
            began_ms = await self._retrier.run(partial(self._leases.began_ms, proposed_ms))
            self._start_at = max(0, min(began_ms, now_ms) - CLOCKS_APART_MS)  # anybody may have written it

    async def start_again(self) -> TakeoverState:
        """After a HubRecreatedError: reads a recreated hub from its beginning, wherever the operator wanted to start in the
        old one, since nothing in it has been seen. Claims name the incarnation, so those of the old hub do not match.

        A hub that says it is the same has failed over to a copy that lacked its last events: what was enqueued up to the
        finished position has been seen, and what came later has not, whatever its numbers.
        """
        info, state = await self.hub_state()
        last = self._lease.record or self._lease.inherited
        finished, generation = _beginning(state), 0
        if last is not None and last.finished is not None and last.incarnation == info.incarnation:
            finished, generation = Position(finished.sequence_number, "", last.finished.enqueued_ms), last.generation + 1
        await self._save_checkpoint(_beginning(state))
        return await self._begin(info, state, finished, None, generation, state.last_sequence_number)

    def start_position(self, finished: Position | None) -> StartPosition:
        if finished is None:
            assert isinstance(self._start_at, int)
            return StartPosition(enqueued_ms=self._start_at)
        if finished.is_a_time:
            return StartPosition(enqueued_ms=finished.enqueued_ms + 1)
        if finished.offset == BEGINNING_OFFSET:
            return StartPosition()
        return StartPosition(sequence_number=finished.sequence_number)

    async def hub_state(self, max_age_seconds: float = 0.0) -> tuple[HubInfo, PartitionState]:
        """The second is of now, the first may be as old as is allowed."""
        run, hub = self._retrier.run, self._source.hub
        info = run(partial(hub.info, max_age_seconds))
        return await asyncio.gather(info, run(partial(hub.partition_state, self._partition_id)))

    async def _check_record(self, inherited: LeaseRecord | None, checkpoint: Position | None, state: PartitionState) -> None:
        """An owner writes the record before the checkpoint. One that is behind it comes from a server that has forgotten,
        even if nothing else shows that."""
        markers, recorded = self._shared.ports.markers, inherited.finished if inherited is not None else None
        if markers is None or recorded is None or checkpoint is None or not self._lease.inherited_is_current:
            return
        believed = _finished(inherited, checkpoint, state, is_current=True)
        if recorded.sequence_number < checkpoint.sequence_number and believed == checkpoint:
            await self._retrier.run(markers.distrust)
            raise LeaseLostError(f"partition {self._partition_id}: its record in Redis is older than its checkpoint")

    def _refuse_position(self, finished: Position, state: PartitionState, *, is_same_hub: bool) -> None:
        if is_same_hub and not state.went_back(finished):
            problem = f"its end of partition {self._partition_id} is not up to date"
            raise UnavailableError(self._source.hub.dependency, problem)
        raise HubRecreatedError(
            f"partition {self._partition_id}: {finished.sequence_number} was finished, but the hub ends at "
            f"{state.last_sequence_number}"
        )

    async def _begin(
        self,
        info: HubInfo,
        state: PartitionState,
        finished: Position | None,
        inherited: LeaseRecord | None,
        generation: int,
        horizon: int,
    ) -> TakeoverState:
        """The record is written before the first send, since the next owner needs its sample. A record without one is of
        pods that only observed: nothing was sent behind it, and what the clean hub holds now need never be read back."""
        clean, run = self._shared.ports.clean, self._retrier.run
        if inherited is not None and (inherited.sample or clean is None):
            sample, rule = inherited.sample, inherited.rule if inherited.rule == self._shared.rule else MIXED_RULES
        else:
            sample, rule = await run(self._sampling.first), self._shared.rule
        record = LeaseRecord(finished, sample, info.incarnation, rule, generation)
        self._inherit(horizon)
        if not await run(partial(self._leases.write, self._lease, record)):
            raise LeaseLostError(f"another owner has partition {self._partition_id}")
        self._lease.record = record
        self._shared.incarnations.saw(self._source.config.name, info.incarnation)
        return TakeoverState(
            lease=self._lease,
            incarnation=info.incarnation,
            horizon=horizon,
            sample=sample,
            rule=rule,
            finished=finished,
            is_behind=state.has_more_than(finished),
            last_enqueued_ms=state.last_enqueued_ms,
            generation=generation,
        )

    def _horizon(self, state: PartitionState, finished: Position | None, inherited: LeaseRecord | None) -> int:
        """Up to where predecessors may have begun to send: as far as the last one has written before it did; the end where
        it did not, or where Redis may have forgotten what it wrote."""
        lease, end = self._lease, state.last_sequence_number
        is_known = inherited is not None and lease.inherited_is_current and finished == inherited.finished
        return end if lease.inherited_begun is None or not is_known else min(end, lease.inherited_begun)

    def _inherit(self, horizon: int) -> None:
        """If this owner ends below the horizon, the next one must look up what this one would have had to."""
        self._lease.begun = max(self._lease.begun, horizon)

    async def _pin(self, state: PartitionState) -> Position | None:
        """Writes the first checkpoint before anything is processed (R6): after a crash `latest` would be a later place.

        A time needs no pin, since it names the same place again after a crash.
        """
        if isinstance(self._start_at, int):
            return None
        position = _beginning(state)
        if self._start_at == LATEST:
            position = Position(state.last_sequence_number, state.last_offset, state.last_enqueued_ms)
        await self._save_checkpoint(position)
        return position

    async def _save_checkpoint(self, position: Position) -> None:
        await self._retrier.run(partial(self._source.checkpoints.save, self._partition_id, position))


def _finished(
    inherited: LeaseRecord | None, checkpoint: Position | None, state: PartitionState, *, is_current: bool
) -> Position | None:
    """The record, or the checkpoint where that is further: Redis may have lost the newest record. The checkpoint alone where
    Redis has forgotten since the record was written: what was a duplicate by then may have lost its winner, which had not
    been sent yet, and whose partition went on by another server's claims, on which its copy was the duplicate.

    But a checkpoint does not say which log it belongs to. It is not believed beyond the end of the hub, where the record is
    within it, nor once the numbers have gone back: then it may be that of a former owner, saved late.
    """
    recorded = inherited.finished if inherited is not None else None
    if recorded is None or checkpoint is None:
        return recorded or checkpoint
    end = state.last_sequence_number
    is_of_another_log = checkpoint.sequence_number > end >= recorded.sequence_number
    if is_of_another_log or (inherited is not None and inherited.generation):
        return recorded
    if not is_current:
        return checkpoint
    return max(recorded, checkpoint, key=lambda position: position.sequence_number)


def _beginning(state: PartitionState) -> Position:
    """Nothing that the hub still keeps is finished. The number lets others compute the lag."""
    return Position(state.first_sequence_number - 1, BEGINNING_OFFSET, enqueued_ms=0)
