"""A throttled stand-in, used by clients that somebody else wrote: what they are told, and that nothing is lost but time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from sandbox.hub.mqtt_face.session import TWIN_ANSWERS
from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.hub.throttling import BACKLOG_SECONDS, IotHubUnits
from tests.support import hub
from tests.support.iot_hub import EVENTS, Paho, next_of, running_iot_hub

UNIT_EVENTS, UNIT_EGRESS_EVENTS = 1000, 4096


@pytest.fixture
async def throttled() -> AsyncIterator[StandIn]:
    """A namespace of one throughput unit."""
    stand_in = StandIn(HubOptions(amqp_port=0, mqtt_port=None, throughput_units=1))
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


async def test_too_much_ingress_is_refused(throttled: StandIn) -> None:
    others = throttled.namespace.throughput
    assert others is not None
    assert others.admits(60 * UNIT_EVENTS, 0, time.monotonic())
    address = throttled.connection_string("clean")
    async with EventHubProducerClient.from_connection_string(address, retry_total=0) as client:
        with pytest.raises(EventHubError, match=r"throttled\. Error code : 50002\. Please wait 4 seconds"):
            await client.send_batch([EventData(b"x")], partition_id="0")
    assert not throttled.namespace.hubs["clean"].partitions[0].entries


async def test_too_much_egress_is_slowed_down(throttled: StandIn) -> None:
    others, clean = throttled.namespace.throughput, throttled.namespace.hubs["clean"]
    assert others is not None
    clean.append([hub.encoded_single("a")], partition=clean.partitions[0])
    began = time.monotonic()
    others.left(2 * UNIT_EGRESS_EVENTS, 0, began)
    assert len(await hub.receive(throttled.connection_string("clean"), "0", 1)) == 1
    assert time.monotonic() - began >= 0.9  # one second's worth leaves at once


async def test_a_device_that_sends_too_fast_waits_and_then_is_closed(pahos: list[Paho]) -> None:
    units = IotHubUnits(sends=20, twin_reads=1, twin_updates=1)
    async with running_iot_hub(iot_hub_units=units) as iot_hub:
        client = await Paho(iot_hub).connect()
        pahos.append(client)
        client.client.max_inflight_messages_set(1000)
        began = time.monotonic()
        for number in range(40):
            client.client.publish(EVENTS, str(number).encode(), qos=1)
        for _ in range(40):
            await next_of(client.acknowledged)
        assert time.monotonic() - began >= 0.9  # the first second's worth is acknowledged at once
        telemetry = [entry.message for part in iot_hub.namespace.hubs["telemetry"].partitions for entry in part.entries]
        assert [int(hub.encoded_body(message)) for message in telemetry] == list(range(40))
        for _ in range(20 * int(BACKLOG_SECONDS + 3)):
            client.client.publish(EVENTS, b"x", qos=1)
        assert await next_of(client.disconnected) != 0


async def test_twin_requests_beyond_the_units_are_answered_with_429(pahos: list[Paho]) -> None:
    units = IotHubUnits(sends=100, twin_reads=0.01, twin_updates=0.01)
    async with running_iot_hub(iot_hub_units=units) as iot_hub:
        client = await Paho(iot_hub).connect()
        pahos.append(client)
        await client.subscribe(TWIN_ANSWERS)
        for number, request in enumerate(("GET/", "GET/", "PATCH/properties/reported/", "PATCH/properties/reported/")):
            await client.publish(f"$iothub/twin/{request}?$rid={number}", b'{"a": 1}')
        answers = [(await next_of(client.heard)).topic.partition("/?")[0] for _ in range(4)]
    assert [answer.rpartition("/")[2] for answer in answers] == ["200", "429", "204", "429"]
