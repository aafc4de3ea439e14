"""What is read of the clean stream, and what is kept of it, when a pod takes partitions over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from dedup_service.core.events import Origin
from dedup_service.core.input_log import InputLog
from dedup_service.core.outgoing import INDEXES_PROPERTY, ORIGIN_PROPERTY, OutgoingEvent
from dedup_service.errors import UnavailableError
from dedup_service.processing.looking_back import LookingBack
from tests.doubles.memory import MemoryPublisher
from tests.support.pipelines import World
from tests.support.readings import single
from tests.support.shared import CLEAN_HUB_READING

LOGS = [InputLog.of(1, str(partition)) for partition in range(32)]


def clean_event(log: InputLog, number: int) -> OutgoingEvent:
    properties = {ORIGIN_PROPERTY: log.event_text(number), INDEXES_PROPERTY: "0-1"}
    return OutgoingEvent(b"", None, None, None, None, properties, 2)


@dataclass(slots=True)
class CountingHub(MemoryPublisher):
    readings: int = 0

    async def read(self, partition_id: str, after: int, see: Callable[[int, Mapping[str, Any]], None]) -> int:
        self.readings += 1
        await asyncio.sleep(0.001)
        return await MemoryPublisher.read(self, partition_id, after, see)


@pytest.mark.parametrize("backlog", [50, 5_000])
async def test_what_is_kept_does_not_grow_with_the_stream(backlog: int) -> None:
    """Only what was under way behind the finished position matters, of the input partition in doubt alone."""
    world = World()
    finished = world.pipeline()
    world.clean.partitions["0"] += [clean_event(LOGS[n % 32], n // 32) for n in range(32 * backlog)]
    finished._resolver.finish(world.at(single("r"), backlog - 5), {})
    found = await finished._resolver.published_by_this_process("0")
    assert found.origins == {Origin(1, 0, number, index) for number in range(backlog - 4, backlog) for index in (0, 1)}


async def test_all_partitions_of_a_pod_share_a_reading() -> None:
    hub = CountingHub({"0": [clean_event(LOGS[n % 32], n // 32) for n in range(320)]})
    looking_back = LookingBack(hub)
    seen: list[list[str]] = [[] for _ in LOGS]

    async def look(place: int) -> bool:
        return await looking_back.read("0", place - 1, lambda event: seen[place].append(event[ORIGIN_PROPERTY]))

    assert all(await asyncio.gather(*(look(place) for place in range(32))))
    assert [len(events) for events in seen] == [320 - place for place in range(32)]
    assert hub.readings == 1


async def test_a_reading_that_has_begun_is_not_shared() -> None:
    """Its end may lie before what is sought."""
    hub = CountingHub({"0": [clean_event(LOGS[0], 0)]})
    looking_back, seen = LookingBack(hub), [0, 0]

    async def look(place: int) -> None:
        def see(_: Mapping[str, Any]) -> None:
            seen[place] += 1

        await looking_back.read("0", -1, see)

    first = asyncio.create_task(look(0))
    while not hub.readings:
        await asyncio.sleep(0)
    hub.partitions["0"].append(clean_event(LOGS[0], 1))
    await asyncio.gather(first, look(1))
    assert (seen[1], hub.readings) == (2, 2)


async def test_each_is_told_whether_its_own_part_has_expired() -> None:
    hub = MemoryPublisher({"0": [clean_event(LOGS[0], n) for n in range(10)]}, expired=5)
    looking_back = LookingBack(hub)
    complete = await asyncio.gather(*(looking_back.read("0", after, lambda _: None) for after in (3, 4, 9)))
    assert complete == [False, True, True]


async def test_an_error_is_told_to_all_who_shared_the_reading() -> None:
    class Away(MemoryPublisher):
        async def read(self, *_: Any) -> int:
            raise UnavailableError(CLEAN_HUB_READING, "away")

    looking_back = LookingBack(Away({"0": []}))
    results = await asyncio.gather(*(looking_back.read("0", -1, lambda _: None) for _ in range(2)), return_exceptions=True)
    assert [type(result) for result in results] == [UnavailableError] * 2
