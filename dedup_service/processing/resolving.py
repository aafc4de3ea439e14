"""Resolves copies in doubt: only the clean stream shows whether they were published, so they are looked up there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from dedup_service.core.claims import Verdict
from dedup_service.core.events import InputEvent, Origin
from dedup_service.core.leases import EndOffsets, TakeoverState
from dedup_service.core.resolve import PublishedOrigins
from dedup_service.processing.event_work import EventWork
from dedup_service.processing.looking_back import LookingBack
from dedup_service.processing.shared import Shared
from dedup_service.telemetry import Count
from dedup_service.waiting import Retrier

FOUND, PUBLISHED, EXPIRED = "found", "published", "expired"
"""What becomes of a copy in doubt: it is in the clean stream; it is not, and gets published; the part of the clean stream
where it might be has expired, and it gets published, since a duplicate can be undone and a loss can't (R3 before R8)."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a part of the clean stream holds of one input partition, behind its finished position."""

    origins: frozenset[Origin]
    is_complete: bool = True
    """False when some of that part has expired."""


def outcome_of(origin: Origin, published: Iterable[Published]) -> str:
    if any(origin in part.origins for part in published):
        return FOUND
    return PUBLISHED if all(part.is_complete for part in published) else EXPIRED


class Resolver:
    """One partition's view of the clean stream, for as long as one lease lasts.

    Two kinds of copies are in doubt: those up to the horizon, which a predecessor may have published, and those up to the
    last attempt, which this process may have published in a batch that it did not finish.
    """

    def __init__(self, shared: Shared, retrier: Retrier, state: TakeoverState) -> None:
        self._tail = shared.ports.tail
        self._looking_back = shared.looking_back
        self._telemetry = shared.ports.telemetry
        self._clean_partitions = shared.clean_partitions
        self._present_rule = shared.rule
        self._retrier = retrier
        self._log = state.log
        self._horizon = state.horizon
        self._inherited = state.sample
        self._inherited_rule = state.rule
        self._attempted = -1
        self._finished = state.finished.sequence_number if state.finished is not None else -1
        self._by_predecessors: dict[str, Published] = {}
        self.sample = state.sample
        """Where the clean stream ended before the first send behind the finished position."""
        self.rule = state.rule
        """The routing rule of everything that was sent behind the sample."""

    @property
    def in_doubt_up_to(self) -> int:
        """The last sequence number whose copies may have been published without being confirmed."""
        return max(self._horizon, self._attempted)

    def attempt(self, last: InputEvent) -> None:
        """From now on, events up to this one may be sent. After an error the next batch may be shorter than the one that
        failed, whose later events have been attempted all the same."""
        self._attempted = max(self._attempted, last.sequence_number)

    def finish(self, last: InputEvent, newest: EndOffsets) -> None:
        """Everything up to this event is finished. The sample becomes the newest one known now, before the next batch sends
        anything. Below the horizon it stays the inherited one, since a predecessor may have sent what lies there; and while
        this process has attempted later events, in a batch that failed, it stays what it was before them."""
        self._finished = last.sequence_number
        if last.sequence_number >= self.in_doubt_up_to and newest:
            self.sample, self.rule = newest, self._present_rule

    async def resolve(self, work: list[EventWork]) -> None:
        """Turns each verdict IN_DOUBT into FOUND, or into WINNER where the clean stream does not have the copy."""
        doubtful = [item for item in work if Verdict.IN_DOUBT in item.verdicts]
        if not doubtful:
            return
        published = await self._published([item for item in doubtful if not item.is_observed])
        for item in doubtful:
            for place, (reading, verdict) in enumerate(zip(item.extraction.readings, item.verdicts, strict=True)):
                if verdict is Verdict.IN_DOUBT:
                    outcome = outcome_of(item.origin(reading), published)
                    self._telemetry.add(Count.IN_DOUBT, label=outcome)
                    item.verdicts[place] = Verdict.FOUND if outcome == FOUND else Verdict.WINNER

    async def _published(self, doubtful: list[EventWork]) -> list[Published]:
        """What the output partitions of the copies in doubt hold; each is looked up once. Where predecessors sent by another
        rule, a copy may be in any partition."""
        lookups = {
            (partition, is_own): None
            for item in doubtful
            for reading in item.with_verdict(Verdict.IN_DOUBT)
            for is_own in [item.event.sequence_number <= self._attempted]
            for partition in self._candidates(item.output_partition(reading), is_own=is_own)
        }
        return await asyncio.gather(
            *(self.published_by_this_process(p) if is_own else self._published_by_predecessors(p) for p, is_own in lookups)
        )

    def _candidates(self, partition: str, *, is_own: bool) -> list[str]:
        """An event that this process has attempted may still have been published by a predecessor, below the horizon."""
        rule = self.rule if is_own else self._inherited_rule
        return [partition] if rule == self._present_rule else self._clean_partitions

    async def _published_by_predecessors(self, output_partition: str) -> Published:
        """From the inherited sample to the end; read once, since predecessors can send nothing more."""
        if output_partition not in self._by_predecessors:
            self._by_predecessors[output_partition] = await self._since(self._inherited, output_partition)
        return self._by_predecessors[output_partition]

    async def published_by_this_process(self, output_partition: str) -> Published:
        """From this process's sample to the present end: what its last, ambiguous sends may have added."""
        return await self._since(self.sample, output_partition)

    async def _since(self, sample: EndOffsets, output_partition: str) -> Published:
        if self._looking_back is None:
            return Published(frozenset())
        look = partial(self._look_back, self._looking_back, output_partition, sample.get(output_partition, -1))
        return await self._retrier.run(look)

    async def _look_back(self, looking_back: LookingBack, output_partition: str, after: int) -> Published:
        """Keeps the origins behind the finished position alone: as many as were under way, however long the stream is."""
        origins: set[Origin] = set()
        published = PublishedOrigins(self._log, behind=self._finished)
        is_complete = await looking_back.read(output_partition, after, lambda event: origins.update(published.of(event)))
        return Published(frozenset(origins), is_complete)
