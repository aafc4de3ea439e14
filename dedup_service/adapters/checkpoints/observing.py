"""Checkpoints of pods that only observe. They have their own, since what was observed is not published."""

from __future__ import annotations

from dedup_service.core.progress import Position
from dedup_service.ports.ownership import Checkpoints

SUFFIX = "/observe"
"""Behind the consumer group's name, where no name of one can have it."""


class ObservingCheckpoints:
    """What was published meanwhile need not be observed again."""

    def __init__(self, own: Checkpoints, published: Checkpoints) -> None:
        self._own = own
        self._published = published

    async def load(self) -> dict[str, Position]:
        own, published = await self._own.load(), await self._published.load()
        return {
            partition: max(
                (positions[partition] for positions in (own, published) if partition in positions),
                key=lambda position: position.sequence_number,
            )
            for partition in own.keys() | published.keys()
        }

    async def save(self, partition_id: str, position: Position) -> None:
        await self._own.save(partition_id, position)

    async def close(self) -> None:
        await self._own.close()
        await self._published.close()
