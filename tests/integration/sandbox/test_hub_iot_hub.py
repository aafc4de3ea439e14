"""The stand-in as IoT Hub, used by the unmodified device SDK and by paho: what a connection may do, and who hears what."""

from __future__ import annotations

import asyncio
import json
import queue
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.iot.device import MethodResponse
from paho.mqtt import client as paho

from sandbox.hub.mqtt_face.session import TWIN_ANSWERS
from sandbox.hub.stand_in import StandIn
from tests.support import hub
from tests.support.iot_hub import DEADLINE_SECONDS, EVENTS, Paho, control, handle, next_of, running_iot_hub, sdk, until


@pytest.fixture
async def iot_hub() -> AsyncIterator[StandIn]:
    async with running_iot_hub() as running:
        yield running


async def events(iot_hub: StandIn) -> list[Any]:
    return await hub.read_all(iot_hub.connection_string("telemetry"))


# --- one connection for a device


async def test_the_newer_connection_wins_and_its_twin_works(iot_hub: StandIn) -> None:
    older = await sdk(iot_hub)
    await older.get_twin()
    newer = await sdk(iot_hub)
    await until(lambda: not older.connected)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await newer.patch_twin_reported_properties({"site": "north"})
        assert (await newer.get_twin())["reported"]["site"] == "north"
        await newer.send_message("from the newer one")
    await asyncio.gather(older.shutdown(), newer.shutdown())
    assert [hub.body(event) for event in await events(iot_hub)] == [b"from the newer one"]


@pytest.mark.parametrize("clean", [True, False])
async def test_subscriptions_outlive_a_connection_only_without_clean_session(
    iot_hub: StandIn, pahos: list[Paho], clean: bool
) -> None:
    first = await Paho(iot_hub, clean_session=clean).connect()
    await first.subscribe(TWIN_ANSWERS)
    second = await Paho(iot_hub, clean_session=clean).connect()
    pahos += [first, second]
    await next_of(first.disconnected)
    await second.publish("$iothub/twin/GET/?$rid=7", b"")
    if clean:
        assert await second.subscribe(TWIN_ANSWERS) == 0
        await second.publish("$iothub/twin/GET/?$rid=8", b"")
    assert (await next_of(second.heard)).topic == f"$iothub/twin/res/200/?$rid={8 if clean else 7}"
    assert second.heard.empty()


# --- who is closed


async def test_qos_2_closes_the_connection_and_a_subscription_is_granted_qos_1(iot_hub: StandIn, pahos: list[Paho]) -> None:
    client = await Paho(iot_hub).connect()
    pahos.append(client)
    assert await client.subscribe("devices/edge-1/messages/devicebound/#", qos=2) == 1
    assert await client.subscribe("devices/edge-2/messages/devicebound/#") == 0x80
    client.client.publish(EVENTS, b"x", qos=2)
    assert await next_of(client.disconnected) != 0
    assert await events(iot_hub) == []


async def test_mqtt_5_is_answered_by_a_close(iot_hub: StandIn, pahos: list[Paho]) -> None:
    client = await Paho(iot_hub, protocol=paho.MQTTv5).start()
    pahos.append(client)
    assert await next_of(client.disconnected) != 0
    assert client.connected.empty()


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n\r\n", b"\x30\x03\x00\x01x", b"\x10\xff\xff\xff\xff\xff", b"\xc0\x00"]
)
async def test_anything_but_a_connect_is_answered_by_a_close(iot_hub: StandIn, first: bytes) -> None:
    context = ssl.create_default_context(cafile=str(iot_hub.ca_file))
    reader, writer = await asyncio.open_connection(
        iot_hub.options.host, iot_hub.mqtt_port, ssl=context, server_hostname="localhost"
    )
    writer.write(first)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await reader.read() == b""
    writer.close()


async def test_a_client_that_is_silent_for_longer_than_its_keep_alive_is_closed(
    iot_hub: StandIn, pahos: list[Paho], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paho.Client, "_check_keepalive", lambda _: None)  # it sends no pings
    client = await Paho(iot_hub).start(keepalive=1)
    pahos.append(client)
    assert await next_of(client.connected) == 0
    assert await next_of(client.disconnected) != 0


async def test_a_connection_ends_with_its_token(iot_hub: StandIn, pahos: list[Paho]) -> None:
    client = await Paho(iot_hub, life_seconds=4).connect()
    pahos.append(client)
    await client.publish(EVENTS)
    assert await next_of(client.disconnected) != 0


# --- telemetry


async def test_a_will_arrives_as_a_message_when_the_device_vanishes_and_not_when_it_says_goodbye(
    iot_hub: StandIn, pahos: list[Paho]
) -> None:
    for goodbye in (True, False):
        client = Paho(iot_hub)
        client.client.will_set(f"{EVENTS}reason=lost", b"gone", qos=1)
        pahos.append(await client.connect())
        if goodbye:
            client.client.disconnect()
        else:
            client.drop()
        await next_of(client.disconnected)
    partitions = iot_hub.namespace.hubs["telemetry"].partitions
    await until(lambda: any(partition.entries for partition in partitions))
    (event,) = await events(iot_hub)
    assert hub.body(event) == b"gone"
    assert hub.properties(event) == {"reason": b"lost", "iothub-MessageType": b"Will"}


async def test_retain_is_marked_and_plug_and_play_is_annotated(iot_hub: StandIn, pahos: list[Paho]) -> None:
    client = await Paho(iot_hub, model_id="dtmi:plant:press;1").connect()
    pahos.append(client)
    await client.publish(f"{EVENTS}%24.sub=thermostat1", retain=True)
    (event,) = await events(iot_hub)
    assert hub.properties(event) == {"mqtt-retain": b"true"}
    assert event.system_properties[b"dt-subject"] == b"thermostat1"
    assert event.system_properties[b"dt-dataschema"] == b"dtmi:plant:press;1"


async def test_mqtt_goes_through_a_websocket_too(iot_hub: StandIn, pahos: list[Paho]) -> None:
    client = Paho(iot_hub, transport="websockets")
    client.client.ws_set_options(path="/$iothub/websocket?iothub-no-client-cert=true")
    pahos.append(await client.connect(iot_hub.websocket_port))
    await client.publish(EVENTS, b"x" * 100_000)
    assert [len(hub.body(event)) for event in await events(iot_hub)] == [100_000]


# --- twins, messages to devices, direct methods


async def test_twin_answers_go_to_who_subscribed_and_a_twin_is_limited(iot_hub: StandIn, pahos: list[Paho]) -> None:
    client = await Paho(iot_hub).connect()
    pahos.append(client)
    await client.publish("$iothub/twin/GET/?$rid=1", b"")
    await client.subscribe(TWIN_ANSWERS)
    too_large = json.dumps({"text": "x" * 33_000}).encode()
    await client.publish("$iothub/twin/PATCH/properties/reported/?$rid=2", too_large)
    await client.publish("$iothub/twin/PATCH/properties/reported/?$rid=3", b'{"a":1}')
    topics = [(await next_of(client.heard)).topic for _ in range(2)]
    assert topics == ["$iothub/twin/res/400/?$rid=2", "$iothub/twin/res/204/?$rid=3&$version=2"]
    assert iot_hub.reported("edge-1") == {"a": 1, "$version": 2}


async def test_messages_to_a_device_wait_for_it_until_it_has_acknowledged_them(iot_hub: StandIn) -> None:
    body = {"body": "stop", "properties": {"$.mid": "m-1", "reason": "a&b=ü"}}
    await asyncio.to_thread(control, iot_hub, "POST", "/devices/edge-1/messages", body)
    client = await sdk(iot_hub)
    heard: queue.Queue[Any] = queue.Queue()  # the SDK calls from a thread of its own
    await handle(client, "on_message_received", heard.put)
    message = await next_of(heard)
    assert (message.data, message.message_id, message.custom_properties) == (b"stop", "m-1", {"reason": "a&b=ü"})
    await asyncio.to_thread(control, iot_hub, "POST", "/devices/edge-1/messages", {"body": "again"})
    assert (await next_of(heard)).data == b"again"
    await until(lambda: not iot_hub._mqtt._sessions["edge-1"].waiting)
    await client.shutdown()


async def test_a_direct_method_is_answered_by_the_device(iot_hub: StandIn) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        await asyncio.to_thread(control, iot_hub, "POST", "/devices/edge-1/methods/reboot", {"in": 5})
    client = await sdk(iot_hub)

    async def on_call(request: Any) -> None:
        answer = {"name": request.name, "got": request.payload}
        await client.send_method_response(MethodResponse.create_from_method_request(request, 207, answer))

    await handle(client, "on_method_request_received", on_call)
    await until(lambda: "$iothub/methods/POST/#" in iot_hub._mqtt._sessions["edge-1"].filters)
    answer = await asyncio.to_thread(control, iot_hub, "POST", "/devices/edge-1/methods/reboot", {"in": 5})
    await client.shutdown()
    assert answer == {"status": 207, "payload": {"name": "reboot", "got": {"in": 5}}}


async def test_desired_properties_are_changed_through_the_control_api(iot_hub: StandIn) -> None:
    client = await sdk(iot_hub)
    heard: queue.Queue[Any] = queue.Queue()  # the SDK calls from a thread of its own
    await handle(client, "on_twin_desired_properties_patch_received", heard.put)
    await until(lambda: iot_hub._mqtt._sessions["edge-1"].filters)
    await asyncio.to_thread(control, iot_hub, "PATCH", "/devices/edge-1/twin", {"interval": 5})
    assert await next_of(heard) == {"interval": 5, "$version": 2}
    twin = await asyncio.to_thread(control, iot_hub, "GET", "/devices/edge-1/twin")
    await client.shutdown()
    assert twin["desired"] == {"interval": 5, "$version": 2}


async def test_hubs_and_devices_are_made_and_removed_at_run_time(iot_hub: StandIn) -> None:
    made = await asyncio.to_thread(control, iot_hub, "PUT", "/hubs/made", {"partitions": 3, "consumer_groups": ["dedup"]})
    await hub.send(made["connection_string"], [hub.event("x")], "2")
    assert [hub.body(event) for event in await hub.read_all(made["connection_string"])] == [b"x"]
    await asyncio.to_thread(control, iot_hub, "DELETE", "/hubs/made")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        await asyncio.to_thread(control, iot_hub, "DELETE", "/hubs/made")
    client = await sdk(iot_hub)
    await asyncio.to_thread(control, iot_hub, "PUT", "/devices/edge-9/modules/m")
    assert "edge-9/m" in iot_hub.describe()["devices"]
    await asyncio.to_thread(control, iot_hub, "DELETE", "/devices/edge-1")
    await until(lambda: not client.connected)
    await client.shutdown()
