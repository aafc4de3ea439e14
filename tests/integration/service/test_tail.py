"""Reading the end of the clean hub back, also when a part of it has expired, and when others read it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
from azure.eventhub.aio import EventHubConsumerClient
from pydantic import SecretStr

from dedup_service.adapters.eventhubs.tail import EventHubTail
from dedup_service.config.addresses import parse_hub_address
from dedup_service.config.hubs import OutputConfig
from dedup_service.errors import ConfigurationError, UnavailableError
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, section
from sandbox.hub.log import Entry
from sandbox.hub.stand_in import StandIn
from tests.support.readers import others

EVENTS = 6
DEADLINE_SECONDS = 60.0


@asynccontextmanager
async def tail_of(connection_string: str, group: str = "dedup", name: str = "") -> AsyncIterator[EventHubTail]:
    address = parse_hub_address("DEDUP_OUTPUT_CONNECTION_STRING", SecretStr(connection_string))
    connect = partial(EventHubConsumerClient.from_connection_string, connection_string, group, retry_total=0)
    made = EventHubTail(connect, OutputConfig(name, address, group), timeout_seconds=5)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def tail(stand_in: StandIn) -> AsyncIterator[EventHubTail]:
    """The tail of a clean hub whose first partition holds six events, numbered in the property `n`."""
    hub = stand_in.namespace.hubs["clean"]
    for n in range(EVENTS):
        event = BareMessage({}, section(APPLICATION_PROPERTIES, {"n": n}) + data_section(b"x"))
        hub.append([event], partition=hub.partitions[0])
        hub.partitions[0].entries[-1] = entry_at(hub.partitions[0].entries[-1], n)
    async with tail_of(stand_in.connection_string("clean")) as made:
        yield made


def entry_at(entry: Entry, minute: int) -> Entry:
    """The entry as if it had been enqueued in that minute of the last hour."""
    return dataclasses.replace(entry, enqueued_ms=entry.enqueued_ms - (60 - minute) * 60_000)


def expire(stand_in: StandIn, count: int) -> None:
    """Lets the first events of the partition expire."""
    partition = stand_in.namespace.hubs["clean"].partitions[0]
    partition.expire(partition.entries[count - 1].enqueued_ms + 1 + round(partition.retention_seconds * 1000))


async def read(tail: EventHubTail, after: int) -> tuple[list[Any], int]:
    """The numbers of the events that were shown, and the one from which on all were."""
    numbers: list[Any] = []
    reading = tail.read("0", after, lambda _, properties: numbers.append(properties["n"]))
    first = await asyncio.wait_for(reading, DEADLINE_SECONDS)
    return numbers, first


async def test_everything_behind_a_position_is_read_back(tail: EventHubTail) -> None:
    assert await read(tail, 3) == ([4, 5], 4)
    assert await read(tail, EVENTS - 1) == ([], EVENTS)


async def test_an_event_with_properties_that_the_sdk_can_not_read_is_found_all_the_same(
    tail: EventHubTail, stand_in: StandIn
) -> None:
    """Otherwise a copy that was published would be published again (R8)."""
    items = b"\xa1\x01n\x54\x06" + b"\xa1\x01d\x94" + b"\x22" * 16
    properties = b"\x00\x53\x74\xc1" + bytes((len(items) + 1, 4)) + items
    clean = stand_in.namespace.hubs["clean"]
    clean.append([BareMessage({}, properties + data_section(b"x"))], partition=clean.partitions[0])
    assert await read(tail, 3) == ([4, 5, 6], 4)


async def test_an_interval_that_is_partly_gone_is_read_as_far_as_it_exists(tail: EventHubTail, stand_in: StandIn) -> None:
    expire(stand_in, 4)
    assert await read(tail, 1) == ([4, 5], 4)
    assert await read(tail, 3) == ([4, 5], 4)


async def test_an_interval_that_is_gone_is_not_waited_for(tail: EventHubTail, stand_in: StandIn) -> None:
    expire(stand_in, EVENTS)
    assert await read(tail, 1) == ([], EVENTS)
    assert await read(tail, EVENTS - 1) == ([], EVENTS)


# --- other readers of the same consumer group


@pytest.mark.parametrize(("count", "owner_level"), [(1, 0), (1, 6499), (5, None)])
async def test_readers_that_are_in_the_way_are_ended_and_come_back(
    tail: EventHubTail, stand_in: StandIn, count: int, owner_level: int | None
) -> None:
    async with others(stand_in, count, owner_level) as readers:
        assert await read(tail, 3) == ([4, 5], 4)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while any(reader.connections < 2 for reader in readers):
                await asyncio.sleep(0.01)


async def test_readers_that_are_not_in_the_way_stay(tail: EventHubTail, stand_in: StandIn) -> None:
    async with others(stand_in, 4, None) as readers:
        assert await read(tail, 3) == ([4, 5], 4)
        assert [reader.connections for reader in readers] == [1] * 4


async def test_two_pods_that_meet_there_both_finish(tail: EventHubTail, stand_in: StandIn) -> None:
    """One reads and the other is refused, until the first has finished; they do not end each other in turns."""

    async def read_at_last(tail: EventHubTail) -> tuple[list[Any], int]:
        while True:
            with contextlib.suppress(UnavailableError):
                return await read(tail, 3)
            await asyncio.sleep(0.1)

    async with others(stand_in, 1, 0), AsyncExitStack() as stack:
        second, third = [await stack.enter_async_context(tail_of(stand_in.connection_string("clean"))) for _ in range(2)]
        found = await asyncio.wait_for(asyncio.gather(*map(read_at_last, (tail, second, third))), DEADLINE_SECONDS)
    assert found == [([4, 5], 4)] * 3


# --- the try at the start


async def test_a_tail_that_can_be_read_is_tried_without_disturbing_anybody(stand_in: StandIn) -> None:
    async with tail_of(stand_in.connection_string("clean")) as tail, others(stand_in, 4, None) as readers:
        assert await tail.try_reading() == []
        assert [reader.connections for reader in readers] == [1] * 4


@pytest.mark.parametrize(("count", "owner_level"), [(1, 0), (5, None)])
async def test_readers_in_the_way_are_seen_at_the_start_and_stay(
    stand_in: StandIn, count: int, owner_level: int | None
) -> None:
    async with tail_of(stand_in.connection_string("clean")) as tail, others(stand_in, count, owner_level) as readers:
        (group,) = await tail.try_reading()
        assert group.startswith("the consumer group dedup of ")
        assert [reader.connections for reader in readers] == [1] * count


@pytest.mark.parametrize(("name", "setting"), [("", "DEDUP_OUTPUT_CONSUMER_GROUP"), ("ovens", "DEDUP_CONFIG_FILE")])
async def test_a_group_that_does_not_exist_is_named(stand_in: StandIn, name: str, setting: str) -> None:
    async with tail_of(stand_in.connection_string("clean"), "nope", name) as tail:
        with pytest.raises(ConfigurationError, match=f"^{setting}: the consumer group nope of .*/clean can't be read"):
            await tail.try_reading()


async def test_a_right_that_is_missing_is_named(stand_in: StandIn) -> None:
    send_only = stand_in.connection_string("clean").replace("RootManageSharedAccessKey", "SendOnly")
    async with tail_of(send_only) as tail:
        with pytest.raises(ConfigurationError, match=r"^DEDUP_OUTPUT_CONSUMER_GROUP: .*right to listen .*'Listen' claim"):
            await tail.try_reading()


async def test_a_hub_that_is_away_is_waited_for(stand_in: StandIn) -> None:
    async with tail_of(stand_in.connection_string("clean")) as tail:
        await stand_in.stop()
        with pytest.raises(UnavailableError) as caught:
            await tail.try_reading()
        assert not caught.value.refused
