"""The stand-in's MQTT face, used by the unmodified IoT device SDK and by clients that misbehave."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient
from azure.iot.device.exceptions import CredentialError

from sandbox.hub import sas
from sandbox.hub.stand_in import HubOptions, StandIn
from tests.support import hub

API = "?api-version=2019-10-01"


@pytest.fixture
async def iot_hub() -> AsyncIterator[StandIn]:
    devices = ("edge-1", "edge-1/sender", "edge-2")
    host = f"127.0.1.{os.getpid() % 250 + 1}"  # the SDK dials one port only, and other tests run at the same time
    running = StandIn(HubOptions(host=host, amqp_port=0, devices=devices))
    await running.start()
    yield running
    await running.stop()


def ca_pem(iot_hub: StandIn) -> str:
    assert iot_hub.ca_file is not None
    return iot_hub.ca_file.read_text()


async def client_of(iot_hub: StandIn, path: str, connection_string: str | None = None) -> Any:
    kind = IoTHubModuleClient if "/" in path else IoTHubDeviceClient
    text = connection_string or iot_hub.device_connection_string(path)
    client = kind.create_from_connection_string(text, server_verification_cert=ca_pem(iot_hub))
    await client.connect()
    return client


async def everything(iot_hub: StandIn) -> list[Any]:
    return await hub.read_all(iot_hub.connection_string("telemetry"))


async def test_messages_of_devices_and_modules_come_with_iot_hubs_annotations(iot_hub: StandIn) -> None:
    module = await client_of(iot_hub, "edge-1/sender")
    message = Message(b'{"v":1}', message_id="m-1", content_type="application/json", content_encoding="utf-8")
    message.correlation_id = "c-1"
    message.custom_properties["cloudEvents_id"] = "ä &=/?#%+"
    await module.send_message(message)
    device = await client_of(iot_hub, "edge-2")
    await device.send_message("plain")
    await asyncio.gather(module.shutdown(), device.shutdown())

    received = {event.system_properties[b"iothub-connection-device-id"]: event for event in await everything(iot_hub)}
    of_module, of_device = received[b"edge-1"], received[b"edge-2"]
    assert hub.body(of_module) == b'{"v":1}'
    assert of_module.properties == {b"cloudEvents_id": "ä &=/?#%+".encode()}
    system = dict(of_module.system_properties)
    assert abs(system.pop(b"iothub-enqueuedtime") / 1000 - time.time()) < 60
    assert abs(system.pop(b"x-opt-enqueued-time") / 1000 - time.time()) < 60
    assert b'"scope":"module"' in system.pop(b"iothub-connection-auth-method")
    assert system.pop(b"iothub-connection-auth-generation-id")
    assert system == {
        b"message-id": b"m-1",
        b"correlation-id": b"c-1",
        b"content-type": b"application/json",
        b"content-encoding": b"utf-8",
        b"iothub-connection-device-id": b"edge-1",
        b"iothub-connection-module-id": b"sender",
        b"iothub-message-source": b"Telemetry",
        b"x-opt-sequence-number": 0,
        b"x-opt-offset": b"0",
    }
    assert b"iothub-connection-module-id" not in of_device.system_properties
    assert b'"scope":"device"' in of_device.system_properties[b"iothub-connection-auth-method"]


async def test_a_device_stays_on_its_partition_in_the_order_of_its_sends(iot_hub: StandIn) -> None:
    client = await client_of(iot_hub, "edge-1/sender")
    for number in range(50):  # one after the other: the SDK itself lets concurrent sends overtake each other
        await client.send_message(str(number))
    await client.shutdown()
    partitions = iot_hub.namespace.hubs["telemetry"].partitions
    assert sorted(len(partition.entries) for partition in partitions) == [0, 0, 0, 50]
    assert [hub.body(event) for event in await everything(iot_hub)] == [str(number).encode() for number in range(50)]


@pytest.mark.parametrize("fault", ["another key", "another device"])
async def test_a_bad_credential_is_refused(iot_hub: StandIn, fault: str) -> None:
    good = iot_hub.device_connection_string("edge-1")
    if fault == "another key":
        bad = good.replace(iot_hub.namespace.devices["edge-1"].key, iot_hub.namespace.devices["edge-2"].key)
    else:
        bad = good.replace("DeviceId=edge-1", "DeviceId=edge-2")
    with pytest.raises(CredentialError):
        await asyncio.wait_for(client_of(iot_hub, "edge-1", bad), hub.TIMEOUT_SECONDS)


# --- raw MQTT: what an SDK would not do


class RawClient:
    """MQTT 3.1.1 by hand, over TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, iot_hub: StandIn) -> RawClient:
        context = ssl.create_default_context(cadata=ca_pem(iot_hub))
        return cls(
            *await asyncio.open_connection(iot_hub.options.host, iot_hub.mqtt_port, ssl=context, server_hostname="localhost")
        )

    async def send(self, kind: int, payload: bytes) -> None:
        length, size = bytearray(), len(payload)
        while True:
            size, digit = divmod(size, 128)
            length.append(digit | (128 if size else 0))
            if not size:
                break
        self._writer.write(bytes([kind]) + bytes(length) + payload)
        await self._writer.drain()

    async def login(self, iot_hub: StandIn, path: str, password: str) -> int:
        """The return code of CONNACK; 0 means accepted."""
        fields = (path, f"{iot_hub.namespace.iot_hub_name}/{path}/{API}", password)
        payload = text("MQTT") + bytes([4, 0b1100_0010]) + struct.pack(">H", 60) + b"".join(map(text, fields))
        await self.send(0x10, payload)
        answer = await asyncio.wait_for(self._reader.read(4), hub.TIMEOUT_SECONDS)
        return answer[3] if len(answer) == 4 else -1

    async def publish(self, topic: str, body: bytes, packet_id: int = 1) -> bytes:
        """The next bytes from the broker: a PUBACK, or nothing if it closed the connection."""
        try:
            await self.send(0x32, text(topic) + struct.pack(">H", packet_id) + body)
            return await asyncio.wait_for(self._reader.read(4), hub.TIMEOUT_SECONDS)
        except ConnectionError:
            return b""

    def close(self) -> None:
        self._writer.transport.abort()


def text(value: str) -> bytes:
    return struct.pack(">H", len(value.encode())) + value.encode()


def token(iot_hub: StandIn, path: str, expiry: int = 4_000_000_000) -> str:
    device = iot_hub.namespace.devices[path]
    return sas.generate(f"{iot_hub.namespace.iot_hub_name}/{device.resource}", base64.b64decode(device.key), expiry)


async def logged_in(iot_hub: StandIn, path: str = "edge-1") -> RawClient:
    client = await RawClient.connect(iot_hub)
    assert await client.login(iot_hub, path, token(iot_hub, path)) == 0
    return client


async def test_an_expired_token_is_refused(iot_hub: StandIn) -> None:
    client = await RawClient.connect(iot_hub)
    assert await client.login(iot_hub, "edge-1", token(iot_hub, "edge-1", expiry=1)) != 0
    client.close()


async def test_an_acknowledged_message_is_in_the_log(iot_hub: StandIn) -> None:
    client = await logged_in(iot_hub)
    assert await client.publish("devices/edge-1/messages/events/", b"x") == b"\x40\x02\x00\x01"
    assert sum(len(partition.entries) for partition in iot_hub.namespace.hubs["telemetry"].partitions) == 1
    client.close()


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("devices/edge-2/messages/events/", b"as another device"),
        ("devices/edge-1/modules/sender/messages/events/", b"as another module"),
        ("some/other/topic", b"x"),
        ("devices/edge-1/messages/events/", b"x" * 300_000),
        ("devices/edge-1/messages/events/a=" + "b" * 60_000, b"x" * 210_000),
    ],
)
async def test_a_device_that_breaks_the_rules_is_disconnected_and_nothing_enters_the_log(
    iot_hub: StandIn, topic: str, body: bytes
) -> None:
    neighbour = await logged_in(iot_hub, "edge-2")
    client = await logged_in(iot_hub)
    await client.publish(topic, body)
    assert await client._reader.read(10) == b""
    assert not any(partition.entries for partition in iot_hub.namespace.hubs["telemetry"].partitions)
    assert await neighbour.publish("devices/edge-2/messages/events/", b"fine")
    neighbour.close()


async def test_garbage_on_the_port_does_not_affect_other_clients(iot_hub: StandIn) -> None:
    assert iot_hub.mqtt_port is not None
    with socket.create_connection((iot_hub.options.host, iot_hub.mqtt_port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    garbled = await RawClient.connect(iot_hub)
    await garbled.send(0x10, b"\xff" * 50)
    garbled.close()
    client = await logged_in(iot_hub)
    assert await client.publish("devices/edge-1/messages/events/", b"x")
    client.close()
