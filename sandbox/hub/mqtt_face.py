"""The MQTT face of the stand-in: devices and modules send telemetry over TLS to an embedded broker, as to IoT Hub.

Source: https://learn.microsoft.com/azure/iot-hub/iot-mqtt-connect-to-iot-hub (topics, system properties, limits).
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import zlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker, BrokerContext
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType
from amqtt.mqtt.packet import MQTTPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from sandbox.amqp.codec import Timestamp
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, properties_section, section
from sandbox.hub import sas
from sandbox.hub.log import Hub, now_ms
from sandbox.hub.namespace import Device, Namespace
from sandbox.hub.twins import Twin

logger = logging.getLogger(__name__)

TWIN_PREFIX = "$iothub/twin/"
TWIN_FILTERS = (f"{TWIN_PREFIX}res/#", f"{TWIN_PREFIX}PATCH/properties/desired/#")
MAX_D2C_BYTES = 256 * 1024
"""IoT Hub's limit for a device-to-cloud message: body and properties together."""

_SYSTEM_PROPERTIES = {
    "$.mid": "message_id",
    "$.cid": "correlation_id",
    "$.uid": "user_id",
    "$.ct": "content_type",
    "$.ce": "content_encoding",
}


class D2CError(Exception):
    """A message for which IoT Hub closes the device's connection; the text gives the reason."""


def d2c_message(topic: str, body: bytes, device: Device) -> BareMessage:
    """Return the AMQP message that IoT Hub makes from an MQTT publish. Raises D2CError."""
    prefix = f"{device.resource}/messages/events"
    if topic != prefix and not topic.startswith(f"{prefix}/"):
        raise D2CError(f"{device.path} may not publish to {topic.partition('/messages/')[0]!r}")
    bag = topic[len(prefix) :].strip("/")
    if len(body) + len(bag) > MAX_D2C_BYTES:
        raise D2CError(f"a message of {len(body)} bytes from {device.path} exceeds the limit of {MAX_D2C_BYTES}")
    pairs = parse_qsl(bag, keep_blank_values=True)
    system = {_SYSTEM_PROPERTIES[key]: value for key, value in pairs if key in _SYSTEM_PROPERTIES}
    custom = {key: value for key, value in pairs if not key.startswith("$.")}
    properties = properties_section(**system)
    return BareMessage({}, properties + section(APPLICATION_PROPERTIES, custom) + data_section(body))


def d2c_annotations(device: Device) -> dict[str, Any]:
    """The annotations that IoT Hub itself adds to a message; a device cannot set them."""
    auth = {
        "scope": "module" if device.module_id else "device",
        "type": "sas",
        "issuer": "iothub",
        "acceptingIpFilterRule": None,
    }
    module = {"iothub-connection-module-id": device.module_id} if device.module_id else {}
    return {
        "iothub-connection-device-id": device.device_id,
        **module,
        "iothub-connection-auth-method": json.dumps(auth, separators=(",", ":")),
        "iothub-connection-auth-generation-id": device.generation_id,
        "iothub-enqueuedtime": Timestamp(now_ms()),
        "iothub-message-source": "Telemetry",
    }


class IotHubPlugin(BaseAuthPlugin, BaseTopicPlugin):
    """Passes the broker's authentication and every publish to the face that configured the plugin."""

    @dataclass
    class Config:
        face: Any

    def __init__(self, context: BrokerContext) -> None:
        super().__init__(context)
        self._face: MqttFace = context.config.face  # the plugin manager hydrates Config

    async def authenticate(self, *, session: Session) -> bool:
        return self._face.authenticate(session)

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Allow only subscriptions to the twin's topics, which are sent to that device alone.

        Publishes are handled in `on_mqtt_packet_received`.
        """
        return action is Action.SUBSCRIBE and topic in TWIN_FILTERS

    async def on_mqtt_packet_received(self, *, packet: MQTTPacket[Any, Any, Any], session: Session | None = None) -> None:
        """Runs before the broker acknowledges the packet, so that an acknowledged message is in the log."""
        if isinstance(packet, PublishPacket) and session is not None:
            self._face.publish(session, packet)


class MqttFace:
    """Devices connect here; their messages enter the log of `hub`, partitioned by device."""

    def __init__(self, namespace: Namespace, hub: Hub, tls: ssl.SSLContext) -> None:
        self._namespace = namespace
        self._hub = hub
        self._tls = tls
        self._writers: dict[tuple[str, int], asyncio.StreamWriter] = {}
        self._broker: Broker | None = None
        self._server: asyncio.Server | None = None
        self._host, self._port = "", 0
        self._twins: dict[str, Twin] = {}
        self._telling: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int) -> int:
        """Start listening and return the port."""
        config = BrokerConfig(
            listeners={"default": ListenerConfig(type=ListenerType.EXTERNAL)},
            plugins={f"{__name__}.{IotHubPlugin.__name__}": {"face": self}},
        )
        self._broker = Broker(config)
        await self._broker.start()
        self._host, self._port = host, port
        await self.listen()
        return self._port

    async def listen(self) -> None:
        """Accept connections, also again after `disconnect_all`."""
        self._server = await asyncio.start_server(self._connected, self._host, self._port, ssl=self._tls)
        self._port = self._server.sockets[0].getsockname()[1]

    def disconnect_all(self) -> None:
        """Stop listening and abort every connection."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers.values()):
            writer.transport.abort()

    async def stop(self) -> None:
        self.disconnect_all()
        if self._broker is not None:
            await self._broker.shutdown()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._broker is not None
        peer = writer.get_extra_info("peername")
        if peer is None:
            writer.transport.abort()
            return
        self._writers[peer[:2]] = writer
        try:
            await self._broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default")
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError) as error:
            logger.info("a device connection ended: %r", error)
        finally:
            del self._writers[peer[:2]]
            writer.close()

    def authenticate(self, session: Session) -> bool:
        try:
            self._namespace.authorize_device(session.password or "", session.client_id or "")
        except sas.SasError as error:
            logger.warning("refused device %r: %s", session.client_id, error)
            return False
        return self._names_itself(session)

    @staticmethod
    def _names_itself(session: Session) -> bool:
        """IoT Hub requires the user name `{hub}/{device}[/{module}]/?api-version=…` to match the client id."""
        resource = str(session.username or "").partition("?")[0].strip("/")
        return resource.partition("/")[2] == str(session.client_id)

    def publish(self, session: Session, packet: PublishPacket) -> None:
        device = self._namespace.devices[session.client_id or ""]
        if (packet.topic_name or "").startswith(TWIN_PREFIX):
            self._answer_twin(device, packet.topic_name or "", bytes(packet.data or b""))
            packet.topic_name = "twin"  # the broker would disconnect a client that publishes to a topic with $
            return
        body = bytes(packet.data or b"")
        try:
            message = d2c_message(packet.topic_name or "", body, device)
        except D2CError as error:
            logger.warning("disconnecting: %s", error)
            self._disconnect(session)
            return
        partitions = self._hub.partitions
        partition = partitions[zlib.crc32(device.device_id.encode()) % len(partitions)]
        self._hub.append([message], partition=partition, annotations=d2c_annotations(device))

    def desire(self, path: str, changes: dict[str, Any]) -> None:
        """Change the desired properties of a device's or module's twin, and notify it."""
        desired = self._twin(path).desired
        desired.patch(changes)
        topic = f"{TWIN_PREFIX}PATCH/properties/desired/?$version={desired.version}"
        self._tell(path, topic, {**changes, "$version": desired.version})

    def reported(self, path: str) -> dict[str, Any]:
        return self._twin(path).reported.shown()

    def _twin(self, path: str) -> Twin:
        return self._twins.setdefault(path, Twin())

    def _answer_twin(self, device: Device, topic: str, body: bytes) -> None:
        """Source: the twin's topics in https://learn.microsoft.com/azure/iot-hub/iot-mqtt-connect-to-iot-hub."""
        request, _, query = topic.removeprefix(TWIN_PREFIX).partition("?")
        rid = dict(parse_qsl(query)).get("$rid", "")
        twin = self._twin(device.path)
        if request.strip("/") == "GET":
            self._tell(device.path, f"{TWIN_PREFIX}res/200/?$rid={rid}", twin.shown())
            return
        try:
            changes = json.loads(body)
        except ValueError:
            changes = None
        if request.strip("/") != "PATCH/properties/reported" or not isinstance(changes, dict):
            self._tell(device.path, f"{TWIN_PREFIX}res/400/?$rid={rid}", {})
            return
        twin.reported.patch(changes)
        self._tell(device.path, f"{TWIN_PREFIX}res/204/?$rid={rid}&$version={twin.reported.version}", {})

    def _tell(self, path: str, topic: str, content: dict[str, Any]) -> None:
        """Publish to this client alone, which the broker's own subscriptions cannot do."""
        assert self._broker is not None
        client = self._broker.sessions.get(path)
        if client is not None and client[0].transitions.is_connected():
            task = asyncio.create_task(client[1].mqtt_publish(topic, json.dumps(content).encode(), 0, False))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    def _disconnect(self, session: Session) -> None:
        writer = self._writers.get((session.remote_address or "", session.remote_port or 0))
        if writer is not None:
            writer.transport.abort()
