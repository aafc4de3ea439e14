"""Receiving all frames at once delivers what the SDK's own receiving delivers, in the same order."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from azure.eventhub._pyamqp.aio import _cbs_async
from azure.eventhub._pyamqp.aio._receiver_async import ReceiverLink
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.aio._eventprocessor.event_processor import EventProcessor

from dedup_service.adapters.azure_errors import CLOSE_TIMEOUT_SECONDS
from dedup_service.adapters.eventhubs import input as hub_input
from dedup_service.adapters.eventhubs.below_sdk import receiving
from dedup_service.adapters.eventhubs.input import EventHubInput
from dedup_service.core.events import InputEvent
from dedup_service.errors import UnavailableError
from dedup_service.ports.hubs import PartitionReader, StartPosition
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, section
from sandbox.hub.namespace import Grant, Namespace
from sandbox.hub.stand_in import StandIn

DEADLINE_SECONDS = 60.0
LIFETIME_SECONDS = 0.3
"""Lifetime of a token, after which a new one is due."""
SIZES = (10, 100, 3_000, 70_000, 200_000)
"""Sizes of bodies in bytes; the last two are longer than a frame."""


def bodies(count: int) -> list[bytes]:
    return [str(n).encode().ljust(SIZES[n % 41 % len(SIZES)] if n % 7 == 0 else 50) for n in range(count)]


def append(stand_in: StandIn, texts: list[bytes]) -> None:
    hub = stand_in.namespace.hubs["telemetry"]
    made = [BareMessage({}, section(APPLICATION_PROPERTIES, {"n": n}) + data_section(text)) for n, text in enumerate(texts)]
    hub.append(made, partition=hub.partitions[0])


def connect_to(stand_in: StandIn, consumer_group: str = "dedup") -> Callable[[], EventHubConsumerClient]:
    address = stand_in.connection_string("telemetry")
    return partial(EventHubConsumerClient.from_connection_string, address, consumer_group, retry_total=0)


@asynccontextmanager
async def reading(stand_in: StandIn, *, prefetch: int = 300, batch_size: int = 100) -> AsyncIterator[PartitionReader]:
    hub = EventHubInput(connect_to(stand_in), "namespace", "", prefetch=prefetch, batch_size=batch_size)
    try:
        yield hub.open("0", StartPosition(), owner_level=1)
    finally:
        await hub.close()


async def read(reader: PartitionReader, count: int) -> list[list[InputEvent]]:
    batches: list[list[InputEvent]] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while sum(map(len, batches)) < count:
            batches.append(await reader.read(0.5))
    return [batch for batch in batches if batch]


@pytest.fixture(params=["directly", "by the SDK"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "by the SDK":
        monkeypatch.setattr(hub_input, "agrees_with_the_sdk", lambda _: False)
    return str(request.param)


async def test_a_start_behind_the_end_is_told_with_the_hubs_own_words(stand_in: StandIn, way: str) -> None:
    append(stand_in, bodies(3))
    hub = EventHubInput(connect_to(stand_in), "namespace", "", prefetch=10, batch_size=10)
    reader = hub.open("0", StartPosition(sequence_number=3), owner_level=1)
    try:
        with pytest.raises(UnavailableError, match="The supplied sequence number '3' is invalid"):
            await read(reader, 1)
    finally:
        await hub.close()


async def test_a_consumer_group_that_does_not_exist_is_told(stand_in: StandIn, way: str) -> None:
    connect = connect_to(stand_in, "nobody")
    hub = EventHubInput(connect, "namespace", "", prefetch=10, batch_size=10)
    reader = hub.open("0", StartPosition(), owner_level=1)
    try:
        with pytest.raises(UnavailableError, match="could not be found") as raised:
            await read(reader, 1)
    finally:
        await hub.close()
    assert raised.value.refused


async def test_events_of_all_sizes_arrive_whole_and_in_order(stand_in: StandIn, way: str) -> None:
    texts = bodies(1500)
    append(stand_in, texts)
    async with reading(stand_in) as reader:
        batches = await read(reader, len(texts))
    events = [event for batch in batches for event in batch]
    assert [event.body for event in events] == texts
    assert [event.sequence_number for event in events] == list(range(len(texts)))
    assert max(map(len, batches)) <= 100


async def test_while_the_worker_is_busy_batches_are_bounded_and_nothing_is_left_out(stand_in: StandIn, way: str) -> None:
    """The worker takes one batch, and then nothing for longer than all events need to arrive."""
    texts = [b"x" * 200] * 5000
    async with reading(stand_in, prefetch=1000) as reader:
        append(stand_in, texts[:1])
        first = await read(reader, 1)
        append(stand_in, texts[1:])
        telemetry = stand_in.namespace.hubs["telemetry"].partitions[0]
        assert telemetry.next_sequence_number == len(texts)
        await asyncio.sleep(1.0)
        batches = first + await read(reader, len(texts) - 1)
    numbers = [event.sequence_number for batch in batches for event in batch]
    assert numbers == list(range(len(texts)))
    assert max(map(len, batches)) <= 100


async def test_large_events_come_in_smaller_batches(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the worker is busy, no more than a batch of bytes is held, and an event that is larger than that comes alone."""
    monkeypatch.setattr(receiving, "BATCH_BYTES", 100_000)
    held = []
    hand_over = receiving._Receiver.hand_over

    async def noted(receiver: receiving._Receiver) -> None:
        held.append(sum(map(receiving._size_of, receiver._events)))
        await hand_over(receiver)

    monkeypatch.setattr(receiving._Receiver, "hand_over", noted)
    texts = [str(n).encode().ljust((30_000, 10, 150_000)[n % 3]) for n in range(60)]
    append(stand_in, texts)
    async with reading(stand_in) as reader:
        batches = await read(reader, 1)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while max(held) < receiving.BATCH_BYTES:
                await asyncio.sleep(0.05)
        batches += await read(reader, len(texts) - sum(map(len, batches)))
    assert [event.body for batch in batches for event in batch] == texts
    assert all(sum(len(event.body) for event in batch[:-1]) < receiving.BATCH_BYTES for batch in batches)
    assert max(held) < receiving.BATCH_BYTES + max(map(len, texts)) + 2**16


async def test_messages_in_parts_come_at_the_speed_of_their_bytes(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the worker is busy, the parts of large messages are taken as they arrive, like whole ones. The SDK would read
    one of them in each pass, between which the receiver waits for longer and longer."""
    read_by_sdk, passes, full = [], [0], asyncio.Event()
    incoming_transfer, hand_over = ReceiverLink._incoming_transfer, receiving._Receiver.hand_over

    async def noted_frame(link: ReceiverLink, frame: tuple[object, ...]) -> None:
        read_by_sdk.append(frame)
        await incoming_transfer(link, frame)  # type: ignore[no-untyped-call]  # the SDK has no types here

    async def noted_pass(receiver: receiving._Receiver) -> None:
        passes[0] += receiver._pause > 0
        if receiver._is_full:
            full.set()
        await hand_over(receiver)

    texts = [b"first"] + [str(n).encode().ljust(200_000) for n in range(20)]
    frames = 20 * 4
    append(stand_in, texts[:1])
    async with reading(stand_in) as reader:
        batches = await read(reader, 1)
        monkeypatch.setattr(ReceiverLink, "_incoming_transfer", noted_frame)
        monkeypatch.setattr(receiving._Receiver, "hand_over", noted_pass)
        monkeypatch.setattr(receiving, "BATCH_BYTES", 19 * 200_000)
        append(stand_in, texts[1:])
        async with asyncio.timeout(DEADLINE_SECONDS):
            await full.wait()
        batches += await read(reader, len(texts) - 1)
    assert [event.body for batch in batches for event in batch] == texts
    assert len(read_by_sdk) < frames / 8
    assert passes[0] < frames / 2


async def test_the_token_is_renewed_while_the_worker_takes_nothing(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub closes a connection whose token expires, even if the receiver is full."""
    texts = [b"x" * 200] * 2000
    authorize, let_sdk_work = Namespace.authorize, receiving._Receiver._let_sdk_work
    put = [0.0]
    full = asyncio.Event()

    def noted_time(namespace: Namespace, token: str, audience: str) -> Grant:
        put.append(time.monotonic())
        return authorize(namespace, token, audience)

    def is_due() -> bool:
        return time.monotonic() - put[-1] > LIFETIME_SECONDS

    async def noted(receiver: receiving._Receiver) -> None:
        if receiver._is_full:
            full.set()
        await let_sdk_work(receiver)

    monkeypatch.setattr(Namespace, "authorize", noted_time)
    monkeypatch.setattr(receiving._Receiver, "_let_sdk_work", noted)
    monkeypatch.setattr(_cbs_async, "check_expiration_and_refresh_status", lambda *_: (False, is_due()))
    monkeypatch.setattr(receiving, "SDK_TURN_SECONDS", 0.1)
    append(stand_in, texts)
    async with reading(stand_in) as reader:
        batches = await read(reader, 1)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await full.wait()
            before = len(put)
            while len(put) < before + 3:
                await asyncio.sleep(0.05)
        batches += await read(reader, len(texts) - sum(map(len, batches)))
    assert [event.sequence_number for batch in batches for event in batch] == list(range(len(texts)))


async def test_events_that_arrive_one_by_one_are_delivered_one_by_one(stand_in: StandIn) -> None:
    async with reading(stand_in, batch_size=1000) as reader:
        for n in range(20):
            append(stand_in, [b"x"])
            ((event,),) = await read(reader, 1)
            assert event.sequence_number == n


async def test_a_partition_is_read_again_while_the_former_reader_still_closes(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receive that is slow to close must neither keep the next one from starting, nor end it when it has closed."""
    slow, closed = asyncio.Event(), asyncio.Event()
    stop = EventProcessor.stop

    async def stop_slowly(self: EventProcessor) -> None:
        if not slow.is_set():
            slow.set()
            await asyncio.sleep(3 * CLOSE_TIMEOUT_SECONDS)
        await stop(self)
        closed.set()

    append(stand_in, bodies(10))
    hub = EventHubInput(connect_to(stand_in), "namespace", "", prefetch=300, batch_size=100)
    try:
        former = hub.open("0", StartPosition(), owner_level=1)
        await read(former, 10)
        monkeypatch.setattr(EventProcessor, "stop", stop_slowly)
        former.close()
        reader = hub.open("0", StartPosition(), owner_level=1)
        await read(reader, 10)
        await asyncio.wait_for(closed.wait(), DEADLINE_SECONDS)
        append(stand_in, bodies(10))
        await read(reader, 10)
    finally:
        await hub.close()


async def test_the_events_of_a_partition_that_was_given_up_leave_the_memory(stand_in: StandIn, way: str) -> None:
    """What the receiver holds for its worker, and what the hub has sent in advance, goes with the reader."""
    texts = [b"given up %06d " % n * 50 for n in range(200)]
    append(stand_in, texts)
    hub = EventHubInput(connect_to(stand_in), "namespace", "", prefetch=300, batch_size=10)
    try:
        reader = hub.open("0", StartPosition(), owner_level=1)
        await read(reader, 10)
        client = weakref.ref(reader._client)  # type: ignore[attr-defined]  # the port does not show it
        reader.close()
        await reader.ended()  # type: ignore[attr-defined]  # nor this
        del reader
        async with asyncio.timeout(DEADLINE_SECONDS):
            while client() is not None:
                gc.collect()
                await asyncio.sleep(0.05)
    finally:
        await hub.close()


async def test_reading_begins_at_the_finished_event_which_comes_again(stand_in: StandIn, way: str) -> None:
    append(stand_in, bodies(10))
    hub = EventHubInput(connect_to(stand_in), "namespace", "", prefetch=300, batch_size=100)
    try:
        (events, *_) = await read(hub.open("0", StartPosition(sequence_number=7), owner_level=1), 3)
        assert events[0].sequence_number == 7
    finally:
        await hub.close()
