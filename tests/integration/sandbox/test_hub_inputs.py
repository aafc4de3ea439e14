"""Inputs of modules, by the unmodified device SDK: what the routes of an edgeHub bring, and what comes again."""

from __future__ import annotations

import asyncio
import os
import queue
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubModuleClient

from sandbox.hub.mqtt_face.inputs import MAX_UNACKNOWLEDGED, WaitingInputs
from sandbox.hub.mqtt_face.packets import Publish
from sandbox.hub.mqtt_face.routes import parse_route
from sandbox.hub.stand_in import HubOptions, StandIn
from tests.support import hub

DEADLINE_SECONDS = 60.0
ROUTES = (
    'FROM /messages/modules/publisher/* INTO BrokeredEndpoint("/modules/sender/inputs/plant")',
    "FROM /messages/modules/sender/* INTO $upstream",
)


@pytest.fixture
async def edge_hub() -> AsyncIterator[StandIn]:
    host = f"127.0.3.{os.getpid() % 250 + 1}"  # the SDK dials one port only, and other tests run at the same time
    routes = tuple(map(parse_route, ROUTES))
    running = StandIn(HubOptions(host=host, amqp_port=0, devices=("gw-1/publisher", "gw-1/sender"), routes=routes))
    await running.start()
    yield running
    await running.stop()


def module(edge_hub: StandIn, name: str) -> Any:
    assert edge_hub.ca_file is not None
    return IoTHubModuleClient.create_from_connection_string(
        edge_hub.device_connection_string(f"gw-1/{name}"), server_verification_cert=edge_hub.ca_file.read_text()
    )


async def listen(client: Any) -> queue.Queue[Message]:
    heard: queue.Queue[Message] = queue.Queue()

    async def on_message(message: Message) -> None:
        heard.put(message)

    await asyncio.to_thread(setattr, client, "on_message_received", on_message)
    return heard


async def test_a_modules_message_reaches_the_input_of_another_with_its_properties_and_not_the_hub(
    edge_hub: StandIn,
) -> None:
    publisher, sender = module(edge_hub, "publisher"), module(edge_hub, "sender")
    waiting = Message(b'{"n": 1}', message_id="one", content_encoding="utf-8", content_type="application/json")
    waiting.custom_properties.update({"$$ContentType": "a/b", "line": "3 & 4=5 +ä"})
    async with asyncio.timeout(DEADLINE_SECONDS):
        await publisher.send_message_to_output(waiting, "readings")  # before anybody listens: it waits
        heard = await listen(sender)
        first = await asyncio.to_thread(heard.get, True, DEADLINE_SECONDS)
        await publisher.send_message("two")
        second = await asyncio.to_thread(heard.get, True, DEADLINE_SECONDS)
        await sender.send_message("up")
    assert (first.data, first.input_name, first.message_id) == (b'{"n": 1}', "plant", "one")
    assert (first.content_type, first.content_encoding) == ("application/json", "utf-8")
    properties = {name: value for name, value in first.custom_properties.items() if not name.startswith("$.")}
    assert properties == {"$$ContentType": "a/b", "line": "3 & 4=5 +ä"}
    assert second.data == b"two"
    assert heard.empty()
    await asyncio.gather(publisher.shutdown(), sender.shutdown())
    assert [hub.body(event) for event in await hub.read_all(edge_hub.connection_string("telemetry"))] == [b"up"]


def test_what_was_not_acknowledged_comes_again_on_the_next_connection_and_before_all_else() -> None:
    waiting, numbers = WaitingInputs(), iter(range(1, 1_000))
    for number in range(MAX_UNACKNOWLEDGED + 2):
        waiting.put(Publish("t", b"%d" % number, qos=1))
    sent = list(waiting.due(numbers))
    assert [int(message.payload) for message in sent] == list(range(MAX_UNACKNOWLEDGED))
    assert waiting.acknowledged(sent[0].packet_id)
    assert [int(message.payload) for message in waiting.due(numbers)] == [MAX_UNACKNOWLEDGED]
    waiting.connected()
    again = list(waiting.due(numbers))
    assert [int(message.payload) for message in again] == list(range(1, MAX_UNACKNOWLEDGED + 1))
    assert not waiting.acknowledged(sent[0].packet_id)
