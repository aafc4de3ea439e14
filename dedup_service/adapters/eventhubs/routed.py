"""Several clean hubs presented as one.

Their partitions are named `<output>:<partition>`; those of the hub that the environment names have their number alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.ports.hubs import CleanTail, PartitionReader, PartitionState, Permit, Publisher, StartPosition

DEFAULT_OUTPUT = ""


def qualified(output: str, partition_id: str) -> str:
    return f"{output}:{partition_id}" if output else partition_id


def _split(partition_id: str) -> tuple[str, str]:
    output, _, partition = partition_id.rpartition(":")
    return output, partition


@dataclass(frozen=True, slots=True)
class RoutedPublisher:
    outputs: Mapping[str, Publisher]

    async def partition_ids(self) -> list[str]:
        ids_of_hubs = await asyncio.gather(*(publisher.partition_ids() for publisher in self.outputs.values()))
        return [qualified(name, partition) for name, ids in zip(self.outputs, ids_of_hubs, strict=True) for partition in ids]

    async def open(self, partition_ids: Sequence[str]) -> None:
        places = [_split(partition_id) for partition_id in partition_ids]
        await asyncio.gather(
            *(
                publisher.open([partition for output, partition in places if output == name])
                for name, publisher in self.outputs.items()
            )
        )

    def reopen(self) -> None:
        for publisher in self.outputs.values():
            publisher.reopen()

    async def ends(self) -> dict[str, int]:
        """The ends of all hubs or an error: where a sample lacks a hub, that hub would be read back from its beginning."""
        ends_of_hubs = await asyncio.gather(*(publisher.ends() for publisher in self.outputs.values()))
        named = zip(self.outputs, ends_of_hubs, strict=True)
        return {qualified(name, partition): number for name, ends in named for partition, number in ends.items()}

    async def publish(self, partition_id: str, events: Sequence[OutgoingEvent], permit: Permit | None = None) -> int:
        output, partition = _split(partition_id)
        return await self.outputs[output].publish(partition, events, permit)

    async def close(self) -> None:
        await asyncio.gather(*(publisher.close() for publisher in self.outputs.values()), return_exceptions=True)


@dataclass(frozen=True, slots=True)
class RoutedTail:
    outputs: Mapping[str, CleanTail]

    async def try_reading(self) -> list[str]:
        disturbed = await asyncio.gather(*(tail.try_reading() for tail in self.outputs.values()))
        return [name for names in disturbed for name in names]

    async def read(self, partition_id: str, after: int, see: Callable[[int, Mapping[str, Any]], None]) -> int:
        output, partition = _split(partition_id)
        return await self.outputs[output].read(partition, after, see)

    async def partition_state(self, partition_id: str) -> PartitionState:
        output, partition = _split(partition_id)
        return await self.outputs[output].partition_state(partition)

    def open_reader(self, partition_id: str, start: StartPosition, *, by_force: bool = False) -> PartitionReader:
        output, partition = _split(partition_id)
        return self.outputs[output].open_reader(partition, start, by_force=by_force)

    async def close(self) -> None:
        await asyncio.gather(*(tail.close() for tail in self.outputs.values()), return_exceptions=True)
