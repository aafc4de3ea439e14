"""Resolves copies in doubt: only the clean stream shows whether they were published, so they are looked up there."""

from __future__ import annotations

import asyncio
from functools import partial

from dedup_service.core.claims import Verdict
from dedup_service.core.events import InputEvent, Origin
from dedup_service.core.leases import EndOffsets, TakeoverState
from dedup_service.core.resolve import published_origins
from dedup_service.ports import CleanTail
from dedup_service.processing.event_work import EventWork
from dedup_service.telemetry import Count, Telemetry
from dedup_service.waiting import Retrier


class Resolver:
    """One partition's view of the clean stream, for as long as one lease lasts.

    Two kinds of copies are in doubt: those up to the horizon, which a predecessor may have published, and those up to the
    last attempt, which this process may have published in a batch that it did not finish.
    """

    def __init__(self, tail: CleanTail | None, retrier: Retrier, telemetry: Telemetry, state: TakeoverState) -> None:
        """`tail` is None where every group only observes; then nothing was ever published."""
        self._tail = tail
        self._retrier = retrier
        self._telemetry = telemetry
        self._incarnation = state.incarnation
        self._partition = int(state.lease.partition_id)
        self._horizon = state.horizon
        self._inherited = state.sample
        self._attempted = -1
        self._by_predecessors: dict[str, set[Origin]] = {}
        self.sample = state.sample
        """Where the clean stream ended before the first send behind the finished position."""

    @property
    def in_doubt_up_to(self) -> int:
        """The last sequence number whose copies may have been published without being confirmed."""
        return max(self._horizon, self._attempted)

    def attempt(self, last: InputEvent) -> None:
        """From now on, events up to this one may be sent."""
        self._attempted = last.sequence_number

    def finish(self, last: InputEvent, newest: EndOffsets) -> None:
        """Everything up to this event is finished. The sample becomes the newest one known now, before the next batch sends
        anything. Below the horizon it stays the inherited one, since a predecessor may have sent what lies there."""
        if last.sequence_number >= self._horizon and newest:
            self.sample = newest

    async def resolve(self, work: list[EventWork]) -> None:
        """Turns each verdict IN_DOUBT into FOUND, or into WINNER where the clean stream does not have the copy."""
        doubtful = [item for item in work if Verdict.IN_DOUBT in item.verdicts]
        if not doubtful:
            return
        published = await self._published([item for item in doubtful if not item.is_observed])
        for item in doubtful:
            for place, (reading, verdict) in enumerate(zip(item.extraction.readings, item.verdicts, strict=True)):
                if verdict is Verdict.IN_DOUBT:
                    origin = item.origin(reading)
                    is_found = any(origin in origins for origins in published)
                    self._telemetry.add(Count.IN_DOUBT, label="found" if is_found else "published")
                    item.verdicts[place] = Verdict.FOUND if is_found else Verdict.WINNER

    async def _published(self, doubtful: list[EventWork]) -> list[set[Origin]]:
        """What the output partitions of the copies in doubt hold; each is looked up once."""
        lookups = {
            (item.output_partition(reading), item.event.sequence_number <= self._attempted): None
            for item in doubtful
            for reading in item.with_verdict(Verdict.IN_DOUBT)
        }
        return await asyncio.gather(
            *(self.published_by_this_process(p) if is_own else self._published_by_predecessors(p) for p, is_own in lookups)
        )

    async def _published_by_predecessors(self, output_partition: str) -> set[Origin]:
        """From the inherited sample to the end; read once, since predecessors can send nothing more."""
        if output_partition not in self._by_predecessors:
            self._by_predecessors[output_partition] = await self._since(self._inherited, output_partition)
        return self._by_predecessors[output_partition]

    async def published_by_this_process(self, output_partition: str) -> set[Origin]:
        """From this process's sample to the present end: what its last, ambiguous sends may have added."""
        return await self._since(self.sample, output_partition)

    async def _since(self, sample: EndOffsets, output_partition: str) -> set[Origin]:
        if self._tail is None:
            return set()
        read = partial(self._tail.read, output_partition, sample.get(output_partition, -1))
        return set(published_origins(await self._retrier.run(read), self._incarnation, self._partition))
