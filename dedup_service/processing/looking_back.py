"""Reads the clean stream back for all partitions of this pod. A pod that takes another one's partitions over has doubts in
all of them at once: those that come while the stream is read share the next reading, from the earliest of their places."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dedup_service.ports import CleanTail

See = Callable[[Mapping[str, Any]], None]


@dataclass(slots=True)
class _Readings:
    """Those of one clean partition."""

    waiting: list[tuple[int, See]] = field(default_factory=list)
    """Who waits for the next one: behind which number, and what is to be shown."""
    next: asyncio.Task[int] | None = None
    under_way: asyncio.Task[int] | None = None


class LookingBack:
    def __init__(self, tail: CleanTail) -> None:
        self._tail = tail
        self._readings: dict[str, _Readings] = {}

    async def read(self, partition_id: str, after: int, see: See) -> bool:
        """Shows the properties of every event behind this number that the hub still keeps, up to the end at the time of the
        call, and keeps none of them. Returns False when some of the events, or all, have expired.

        Raises UnavailableError.
        """
        readings = self._readings.setdefault(partition_id, _Readings())
        readings.waiting.append((after, see))
        if readings.next is None:
            readings.next = asyncio.create_task(self._read(partition_id, readings, readings.under_way))
            readings.next.add_done_callback(_retrieve)
        return await asyncio.shield(readings.next) <= after + 1

    async def _read(self, partition_id: str, readings: _Readings, earlier: asyncio.Task[int] | None) -> int:
        """Returns the number from which on nothing is missing."""
        if earlier is not None:
            await asyncio.wait({earlier})
        readings.under_way, readings.next = readings.next, None
        asked, readings.waiting = readings.waiting, []

        def show(number: int, properties: Mapping[str, Any]) -> None:
            for after, see in asked:
                if number > after:
                    see(properties)

        return await self._tail.read(partition_id, min(after for after, _ in asked), show)


def _retrieve(task: asyncio.Task[int]) -> None:
    """All who waited may have been cancelled, and then nobody would."""
    if not task.cancelled():
        task.exception()
