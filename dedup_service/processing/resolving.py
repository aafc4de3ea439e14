"""Resolve: find out from the clean stream what was published, for copies that Redis can't tell about."""

from __future__ import annotations

from functools import partial

from dedup_service.core.events import Origin
from dedup_service.core.leases import EndOffsets
from dedup_service.core.resolve import published_origins
from dedup_service.ports import CleanTail
from dedup_service.waiting import Retrier


class Resolver:
    """Of one input partition, for as long as one lease lasts."""

    def __init__(
        self, tail: CleanTail, retrier: Retrier, *, incarnation: int, partition: int, inherited: EndOffsets
    ) -> None:
        self._tail = tail
        self._retrier = retrier
        self._incarnation = incarnation
        self._partition = partition
        self._inherited = inherited
        self._by_predecessors: dict[str, set[Origin]] = {}

    async def by_predecessors(self, output_partition: str) -> set[Origin]:
        """What former owners published, from the inherited sample to the end; read once, since they can send no more."""
        if output_partition not in self._by_predecessors:
            self._by_predecessors[output_partition] = await self.since(self._inherited, output_partition)
        return self._by_predecessors[output_partition]

    async def since(self, sample: EndOffsets, output_partition: str) -> set[Origin]:
        """What was published behind the sample, up to now."""
        after = sample.get(output_partition, -1)
        events = await self._retrier.run(partial(self._tail.read, output_partition, after))
        return set(published_origins(events, self._incarnation, self._partition))
