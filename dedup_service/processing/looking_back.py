"""Reads the clean stream back for all partitions of this pod. A pod that takes another one's partitions over has doubts in
all of them at once: those that come while the stream is read share the next reading, from the earliest of their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dedup_service.joined import Joined
from dedup_service.ports.hubs import CleanTail

See = Callable[[Mapping[str, Any]], None]


class LookingBack:
    def __init__(self, tail: CleanTail) -> None:
        self._tail = tail
        self._waiting: dict[str, list[tuple[int, See]]] = {}
        """By clean partition: who waits for the next reading, behind which number, and what is to be shown."""
        self._readings: dict[str, Joined[int]] = {}

    async def read(self, partition_id: str, after: int, see: See) -> bool:
        """Shows the properties of every event behind this number that the hub still keeps, up to the end at the time of the
        call, and keeps none of them. Returns False when some of the events, or all, have expired.

        Raises UnavailableError.
        """
        self._waiting.setdefault(partition_id, []).append((after, see))
        if partition_id not in self._readings:
            self._readings[partition_id] = Joined(partial(self._read, partition_id))
        return await self._readings[partition_id].get() <= after + 1

    async def _read(self, partition_id: str) -> int:
        """For all who wait. Returns the number from which on nothing is missing."""
        asked = self._waiting.pop(partition_id)

        def show(number: int, properties: Mapping[str, Any]) -> None:
            for after, see in asked:
                if number > after:
                    see(properties)

        return await self._tail.read(partition_id, min(after for after, _ in asked), show)
