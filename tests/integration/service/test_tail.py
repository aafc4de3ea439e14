"""Reading the end of the clean hub back, also when a part of it has expired."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest
from azure.eventhub.aio import EventHubConsumerClient

from dedup_service.adapters.eventhubs.tail import EventHubTail
from dedup_service.ports import TailEvents
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, section
from sandbox.hub.log import Entry
from sandbox.hub.stand_in import StandIn

EVENTS = 6
DEADLINE_SECONDS = 30.0


@pytest.fixture
async def tail(stand_in: StandIn) -> AsyncIterator[EventHubTail]:
    """The tail of a clean hub whose first partition holds six events, numbered in the property `n`."""
    hub = stand_in.namespace.hubs["clean"]
    for n in range(EVENTS):
        event = BareMessage({}, section(APPLICATION_PROPERTIES, {"n": n}) + data_section(b"x"))
        hub.append([event], partition=hub.partitions[0])
        hub.partitions[0].entries[-1] = entry_at(hub.partitions[0].entries[-1], n)
    client = EventHubConsumerClient.from_connection_string(stand_in.connection_string("clean"), "dedup", retry_total=0)
    made = EventHubTail(client, timeout_seconds=5)
    yield made
    await made.close()


def entry_at(entry: Entry, minute: int) -> Entry:
    """The entry as if it had been enqueued in that minute of the last hour."""
    return dataclasses.replace(entry, enqueued_ms=entry.enqueued_ms - (60 - minute) * 60_000)


def expire(stand_in: StandIn, count: int) -> None:
    """Lets the first events of the partition expire."""
    partition = stand_in.namespace.hubs["clean"].partitions[0]
    partition.expire(partition.entries[count - 1].enqueued_ms + 1 + round(partition.retention_seconds * 1000))


async def read(tail: EventHubTail, after: int) -> TailEvents:
    return await asyncio.wait_for(tail.read("0", after), DEADLINE_SECONDS)


async def test_everything_behind_a_position_is_read_back(tail: EventHubTail) -> None:
    found = await read(tail, 3)
    assert ([item["n"] for item in found.properties], found.is_complete) == ([4, 5], True)
    assert await read(tail, EVENTS - 1) == TailEvents([])


async def test_an_event_with_properties_that_the_sdk_can_not_read_is_found_all_the_same(
    tail: EventHubTail, stand_in: StandIn
) -> None:
    """Otherwise a copy that was published would be published again (R8)."""
    items = b"\xa1\x01n\x54\x06" + b"\xa1\x01d\x94" + b"\x22" * 16
    properties = b"\x00\x53\x74\xc1" + bytes((len(items) + 1, 4)) + items
    clean = stand_in.namespace.hubs["clean"]
    clean.append([BareMessage({}, properties + data_section(b"x"))], partition=clean.partitions[0])
    assert [item["n"] for item in (await read(tail, 3)).properties] == [4, 5, 6]


async def test_an_interval_that_is_partly_gone_is_read_as_far_as_it_exists(tail: EventHubTail, stand_in: StandIn) -> None:
    expire(stand_in, 4)
    found = await read(tail, 1)
    assert ([item["n"] for item in found.properties], found.is_complete) == ([4, 5], False)
    found = await read(tail, 3)
    assert ([item["n"] for item in found.properties], found.is_complete) == ([4, 5], True)


async def test_an_interval_that_is_gone_is_not_waited_for(tail: EventHubTail, stand_in: StandIn) -> None:
    expire(stand_in, EVENTS)
    assert await read(tail, 1) == TailEvents([], is_complete=False)
    assert await read(tail, EVENTS - 1) == TailEvents([])
