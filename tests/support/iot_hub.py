"""A stand-in with devices, and the clients of a device that others wrote: its SDK, and paho."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import queue
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from azure.iot.device.aio import IoTHubDeviceClient
from paho.mqtt import client as paho

from sandbox.hub import sas
from sandbox.hub.stand_in import HubOptions, StandIn

DEADLINE_SECONDS = 60.0
EVENTS = "devices/edge-1/messages/events/"


@asynccontextmanager
async def running_iot_hub(**options: Any) -> AsyncIterator[StandIn]:
    """It has device edge-1 and its module sender. The SDK dials port 8883 only, so each worker has an address of its own."""
    host = f"127.0.2.{os.getpid() % 250 + 1}"
    devices = ("edge-1", "edge-1/sender")
    running = StandIn(HubOptions(host=host, amqp_port=0, control_port=0, websocket_port=0, devices=devices, **options))
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


class Paho:
    """A paho client in a thread of its own, as device edge-1; what it hears is in queues."""

    def __init__(self, iot_hub: StandIn, *, life_seconds: int = 3600, **options: Any) -> None:
        self._hub = iot_hub
        self.connected: queue.Queue[int] = queue.Queue()
        self.disconnected: queue.Queue[int] = queue.Queue()
        self.heard: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.granted: queue.Queue[tuple[int, ...]] = queue.Queue()
        self.acknowledged: queue.Queue[int] = queue.Queue()
        model = options.pop("model_id", None)
        self.client = paho.Client("edge-1", **options)
        device, name = iot_hub.namespace.devices["edge-1"], iot_hub.namespace.iot_hub_name
        user = f"{name}/edge-1/?api-version=2021-04-12" + (f"&model-id={model}" if model else "")
        expiry = int(time.time()) + life_seconds
        self.client.username_pw_set(user, sas.generate(f"{name}/devices/edge-1", base64.b64decode(device.key), expiry))
        assert iot_hub.ca_file is not None
        context = ssl.create_default_context(cafile=str(iot_hub.ca_file))
        context.check_hostname = False  # the certificate is for localhost
        self.client.tls_set_context(context)
        self.client.on_connect = lambda *arguments: self.connected.put(arguments[3])
        self.client.on_disconnect = lambda *arguments: self.disconnected.put(arguments[2])
        self.client.on_message = lambda *arguments: self.heard.put(arguments[2])
        self.client.on_subscribe = lambda *arguments: self.granted.put(arguments[3])
        self.client.on_publish = lambda *arguments: self.acknowledged.put(arguments[2])
        self.client.reconnect_delay_set(60, 60)  # never within a test

    async def start(self, port: int | None = None, keepalive: int = 60) -> Paho:
        await asyncio.to_thread(self.client.connect, self._hub.options.host, port or self._hub.mqtt_port, keepalive)
        self.client.loop_start()
        return self

    async def connect(self, port: int | None = None) -> Paho:
        await self.start(port)
        assert await next_of(self.connected) == 0
        return self

    async def subscribe(self, topic: str, qos: int = 0) -> int:
        self.client.subscribe(topic, qos)
        return int((await next_of(self.granted))[0])

    async def publish(self, topic: str, body: bytes = b"x", **options: Any) -> None:
        """Returns once it is acknowledged."""
        self.client.publish(topic, body, **{"qos": 1, **options})
        await next_of(self.acknowledged)

    def drop(self) -> None:
        """Ends the connection without a DISCONNECT."""
        sock = self.client.socket()
        assert sock is not None
        sock.shutdown(2)

    def stop(self) -> None:
        self.client.loop_stop()


async def next_of(source: queue.Queue[Any]) -> Any:
    return await asyncio.to_thread(source.get, True, DEADLINE_SECONDS)


async def sdk(iot_hub: StandIn) -> Any:
    assert iot_hub.ca_file is not None
    client = IoTHubDeviceClient.create_from_connection_string(
        iot_hub.device_connection_string("edge-1"),
        server_verification_cert=iot_hub.ca_file.read_text(),
        connection_retry=False,
    )
    await client.connect()
    return client


async def handle(client: Any, event: str, handler: Any) -> None:
    """The SDK subscribes when a handler is set, and waits for it in this thread, in which the stand-in runs."""
    await asyncio.to_thread(setattr, client, event, handler)


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


def control(iot_hub: StandIn, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    url = f"http://{iot_hub.options.host}:{iot_hub.control_port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=DEADLINE_SECONDS) as answer:
        return json.load(answer)
