"""Sending through the SDK: an error that nobody expects is not the event's fault, and may hide a send that worked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from azure.eventhub._pyamqp.aio._connection_async import Connection
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient, _client_base_async

from dedup_service.adapters.azure_errors import CALL_TIMEOUT_SECONDS
from dedup_service.adapters.eventhubs import producers
from dedup_service.adapters.eventhubs import publisher as module
from dedup_service.adapters.eventhubs.below_sdk.native import PYTHON
from dedup_service.adapters.eventhubs.input import EventHubInput
from dedup_service.adapters.eventhubs.publisher import EventHubPublisher
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.errors import Dependency, DependencyKind, UnavailableError, UndeliverableError
from sandbox.hub.stand_in import StandIn
from sandbox.peers.links import Link

CLEAN_HUB = Dependency(DependencyKind.CLEAN_HUB)
FROZEN_SECONDS = 0.5
DEADLINE_SECONDS = 60.0


def event(body: bytes) -> OutgoingEvent:
    return OutgoingEvent(body, "application/json", None, "m", None, {"n": 1}, 1)


@pytest.fixture
async def publisher(stand_in: StandIn) -> AsyncIterator[EventHubPublisher]:
    connect = partial(EventHubProducerClient.from_connection_string, stand_in.connection_string("clean"), retry_total=0)
    made = EventHubPublisher(connect, CLEAN_HUB, send_timeout_seconds=5)
    yield made
    await made.close()


def stored(stand_in: StandIn) -> int:
    return len(stand_in.namespace.hubs["clean"].partitions[0].entries)


async def test_a_defect_of_the_sdk_in_a_send_is_an_ambiguous_outcome(
    publisher: EventHubPublisher, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = EventHubProducerClient.send_batch

    async def sends_and_fails(self: EventHubProducerClient, *arguments: Any, **options: Any) -> None:
        await send(self, *arguments, **options)
        raise AttributeError("'NoneType' object has no attribute '_link'")

    with monkeypatch.context() as patch:
        patch.setattr(EventHubProducerClient, "send_batch", sends_and_fails)
        with pytest.raises(UnavailableError, match="the clean hub: AttributeError") as caught:
            await publisher.publish("0", [event(b"1")])
    assert caught.value.ambiguous
    assert stored(stand_in) == 1
    assert await publisher.publish("0", [event(b"2")]) == 1
    assert stored(stand_in) == 2


async def test_a_defect_before_the_send_is_an_unavailable_hub(
    publisher: EventHubPublisher, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        raise AttributeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(EventHubProducerClient, "create_batch", fails)
        with pytest.raises(UnavailableError, match="AttributeError"):
            await publisher.publish("0", [event(b"1")])
    assert await publisher.publish("0", [event(b"1")]) == 1
    assert stored(stand_in) == 1


async def test_only_an_event_that_can_not_be_encoded_is_undeliverable(
    publisher: EventHubPublisher, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:

    def fails_on_poison(one: OutgoingEvent) -> bytes:
        if one.body == b"poison":
            raise ArithmeticError("a defect")
        return PYTHON.encode(one)

    monkeypatch.setattr(module, "CODEC", PYTHON._replace(encode=fails_on_poison))
    events = [event(b"1"), event(b"poison"), event(b"2")]
    assert await publisher.publish("0", events) == 1
    with pytest.raises(UndeliverableError) as caught:
        await publisher.publish("0", events[1:])
    assert caught.value.reason == "processing-failed"
    assert await publisher.publish("0", events[2:]) == 1
    assert stored(stand_in) == 2


async def test_a_partition_is_opened_by_one_connection_and_by_no_question_before_it(
    publisher: EventHubPublisher, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK by itself makes three in a row: to ask for all partitions, to send, and to learn how large messages may be."""
    opened: list[Connection] = []
    connect = Connection.open

    async def counted(self: Connection, wait: bool = False) -> None:
        opened.append(self)
        await connect(self, wait)

    monkeypatch.setattr(Connection, "open", counted)
    assert await publisher.publish("0", [event(b"1")]) == 1
    assert len(opened) == 1
    most = await publisher._new_batch(publisher._producers.of("0"), "0", DEADLINE_SECONDS)
    async with EventHubProducerClient.from_connection_string(stand_in.connection_string("clean")) as client:
        assert most.max_size_in_bytes == (await client.create_batch(partition_id="0")).max_size_in_bytes


async def until_cut_off(publisher: EventHubPublisher) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while publisher._producers.cut_off() != ["0"]:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("keep_alive", [30, 0.05], ids=["silent", "with-heartbeats-unread"])
async def test_what_is_sent_after_the_hub_was_away_is_certain_to_arrive(stand_in: StandIn, keep_alive: float) -> None:
    """A send over a connection that is gone would be ambiguous, and what it became looked up in the clean stream."""
    connect = partial(EventHubProducerClient.from_connection_string, stand_in.connection_string("clean"), retry_total=0)
    publisher = EventHubPublisher(partial(connect, keep_alive=keep_alive), CLEAN_HUB, send_timeout_seconds=5)
    assert await publisher.publish("0", [event(b"1")]) == 1
    await stand_in.restart(seconds_down=0.1, keep_log=True)
    await until_cut_off(publisher)
    assert await publisher.publish("0", [event(b"2")]) == 1
    assert stored(stand_in) == 2
    await publisher.close()


async def test_a_connection_that_was_cut_off_is_opened_again_before_the_next_send(
    publisher: EventHubPublisher, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await publisher.publish("0", [event(b"1")]) == 1
    publisher.reopen()
    assert not publisher._reopening
    await stand_in.restart(seconds_down=0, keep_log=True)
    await until_cut_off(publisher)
    publisher.reopen()
    publisher.reopen()
    (reopening,) = publisher._reopening.values()
    await reopening
    assert not publisher._producers.cut_off()
    monkeypatch.setattr(Connection, "open", None)
    assert await publisher.publish("0", [event(b"2")]) == 1


async def test_one_who_has_little_time_left_does_not_connect_for_long(stand_in: StandIn) -> None:
    """A pod that leaves, over a line that is cut: connecting would take all the time that it has to leave in order."""
    link = await Link("127.0.0.1", stand_in.amqp_port).start()
    through = stand_in.connection_string("clean").replace(f":{stand_in.amqp_port}/", f":{link.port}/")
    connect = partial(EventHubProducerClient.from_connection_string, through, retry_total=0)
    publisher = EventHubPublisher(connect, CLEAN_HUB, send_timeout_seconds=5)
    link.cut()
    asked = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        await publisher.publish("0", [event(b"1")], permit=lambda _: 0.05)
    assert time.monotonic() - asked < CALL_TIMEOUT_SECONDS / 2
    assert not caught.value.ambiguous
    await publisher.close()
    await link.stop()


async def test_a_hub_that_stays_away_is_asked_once_and_is_an_error_of_the_next_send(
    publisher: EventHubPublisher, stand_in: StandIn
) -> None:
    assert await publisher.publish("0", [event(b"1")]) == 1
    await stand_in.stop()
    await until_cut_off(publisher)
    publisher.reopen()
    (reopening,) = publisher._reopening.values()
    await reopening
    assert not publisher._reopening
    with pytest.raises(UnavailableError) as caught:
        await publisher.publish("0", [event(b"2")])
    assert not caught.value.ambiguous


async def test_nothing_naps_while_the_hub_answers(
    publisher: EventHubPublisher, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK would sleep 50 ms after each frame of an opening."""
    sleep, napped = asyncio.sleep, [0.0]

    async def counted(seconds: float, *given: Any) -> Any:
        napped.append(seconds)
        return await sleep(seconds, *given)

    monkeypatch.setattr(_client_base_async, "asyncio", asyncio)  # the SDK's own, which these tests make quicker
    monkeypatch.setattr(asyncio, "sleep", counted)
    await publisher.open(["0"])
    await publisher.ends()
    connect = partial(
        EventHubConsumerClient.from_connection_string, stand_in.connection_string("telemetry"), "dedup", retry_total=0
    )
    hub = EventHubInput(connect, "plant", "telemetry", prefetch=300, batch_size=300)
    await hub.info()
    await hub.close()
    assert max(napped) < 0.05


async def test_a_connection_over_which_nothing_is_sent_is_closed_and_comes_back(
    publisher: EventHubPublisher, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producers, "IDLE_SECONDS", 0.05)
    await publisher.open(["0", "1"])
    async with asyncio.timeout(DEADLINE_SECONDS):
        while publisher._producers._clients:
            await asyncio.sleep(0.01)
    monkeypatch.undo()
    assert await publisher.publish("0", [event(b"1")]) == 1
    assert list(publisher._producers._clients) == ["0"]
    assert stored(stand_in) == 1


async def test_a_process_that_was_frozen_until_the_time_for_its_send_was_over_writes_nothing(
    publisher: EventHubPublisher, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease may be over, too, and its successor may have sent the events."""
    send = EventHubProducerClient.send_batch

    async def is_frozen_and_sends(self: EventHubProducerClient, *arguments: Any, **options: Any) -> None:
        time.sleep(FROZEN_SECONDS)
        await send(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(EventHubProducerClient, "send_batch", is_frozen_and_sends)
        patch.setattr(publisher, "_timeout", FROZEN_SECONDS / 2)
        with pytest.raises(UnavailableError) as caught:
            await publisher.publish("0", [event(b"1")])
    assert caught.value.ambiguous
    assert await publisher.publish("0", [event(b"2")]) == 1
    assert stored(stand_in) == 1


async def test_a_partition_costs_one_connection_and_no_question(publisher: EventHubPublisher, stand_in: StandIn) -> None:
    """By itself, the SDK asks for the names of all partitions first, and opens another link to learn the greatest size."""
    await publisher.open(["0", "1"])
    for name in ("0", "1", "2"):
        assert await publisher.publish(name, [event(b"1")]) == 1
    traffic = stand_in.broker.traffic
    assert (traffic.connections, traffic.asked, stand_in.broker.connections) == (3, 0, 3)
