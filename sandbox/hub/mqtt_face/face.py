"""The MQTT face of the stand-in: devices and modules connect as to IoT Hub, over TLS or WebSocket.

Source: https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote

from sandbox.hub import sas
from sandbox.hub.enrollments import Enrollments
from sandbox.hub.log import Hub
from sandbox.hub.mqtt_face.connection import Face, MqttConnection
from sandbox.hub.mqtt_face.inputs import OUTPUT, as_input
from sandbox.hub.mqtt_face.packets import Connect, MqttError, Publish
from sandbox.hub.mqtt_face.provisioning import ProvisioningFace, is_registration
from sandbox.hub.mqtt_face.routes import Route, targets
from sandbox.hub.mqtt_face.session import CALLS, DESIRED_CHANGES, METHODS, TWIN, TWIN_ANSWERS, DeviceSession
from sandbox.hub.mqtt_face.telemetry import bag_of, d2c_annotations, d2c_message
from sandbox.hub.namespace import Device, Namespace
from sandbox.hub.throttling import BacklogFullError, IotHubUnits
from sandbox.hub.twins import Properties, Twin, TwinError

CALL_SECONDS = 30.0
"""How long a direct method may take, as by default with IoT Hub."""


class NotOnlineError(LookupError):
    """The device is not connected, or did not subscribe to direct methods; IoT Hub answers 404."""


class MqttFace:
    """Devices connect here; their messages enter the log of a hub, partitioned by device."""

    def __init__(
        self,
        namespace: Namespace,
        enrollments: Enrollments,
        telemetry: str,
        routes: Sequence[Route] = (),
        units: IotHubUnits | None = None,
    ) -> None:
        """`telemetry` names the hub that devices send to. `routes` are those of every device's edgeHub. `units` throttle."""
        self._namespace = namespace
        self._provisioning = ProvisioningFace(enrollments, self._forget)
        self._routes = routes
        self._telemetry = telemetry
        self._units = units
        self._connections: set[MqttConnection] = set()
        self._online: dict[str, MqttConnection] = {}
        self._sessions: dict[str, DeviceSession] = {}
        self._twins: dict[str, Twin] = {}
        self._calls: dict[str, asyncio.Future[tuple[int, Any]]] = {}
        self._call_numbers = itertools.count(1)

    def connection(self) -> MqttConnection:
        """The protocol of a new connection."""
        connection = MqttConnection(self)
        self._connections.add(connection)
        return connection

    def send_to(self, telemetry: str) -> None:
        """Messages of devices enter this hub from now on."""
        self._telemetry = telemetry

    def disconnect_all(self) -> None:
        for connection in tuple(self._connections):
            connection.abort()

    def remove(self, path: str) -> None:
        """Forget a device that was removed."""
        if (connection := self._online.get(path)) is not None:
            connection.close("it was removed")
        self._sessions.pop(path, None)
        self._twins.pop(path, None)

    def _forget(self, connection: MqttConnection) -> None:
        self._connections.discard(connection)

    # --- what a connection asks

    def face_of(self, connect: Connect) -> Face:
        return self._provisioning if is_registration(connect.user_name) else self

    def log_in(self, connection: MqttConnection, connect: Connect) -> tuple[DeviceSession, float, bool]:
        """One connection for a device: the newer wins, and the older one is closed. Raises SasError."""
        device, expiry = self._namespace.authorize_device(connect.password, connect.client_id, connection.certificate)
        resource, _, query = connect.user_name.partition("?")
        if resource.strip("/").partition("/")[2] != device.path:
            raise sas.SasError("the user name is not {hub}/{device}[/{module}]/?api-version=…")
        connection.model_id = dict(parse_qsl(query)).get("model-id")
        if (older := self._online.get(device.path)) is not None:
            older.close("the device has connected anew")
        is_old = not connect.clean and device.path in self._sessions
        session = self._sessions.setdefault(device.path, DeviceSession(device))
        if connect.clean:
            session.filters.clear()
        session.inputs.connected()
        self._online[device.path] = connection
        return session, expiry, is_old

    def wait(self, publish: Publish) -> float:
        """Seconds that a message has to wait. Raises MqttError: MQTT 3.1.1 can't say that too much was sent."""
        if self._units is None or publish.topic.startswith("$iothub/"):
            return 0.0
        try:
            return self._units.send_wait(time.monotonic())
        except BacklogFullError as error:
            raise MqttError(str(error)) from None

    def publish(self, connection: MqttConnection, publish: Publish) -> None:
        session = _session_of(connection)
        if publish.topic.startswith(TWIN):
            self._answer_twin(connection, session, publish)
        elif publish.topic.startswith(f"{METHODS}res/"):
            self._returned(publish)
        else:
            self._accept(connection, publish)

    def acknowledged(self, connection: MqttConnection, number: int) -> None:
        session = _session_of(connection)
        session.acknowledged(number)
        self._deliver_inputs(connection, session)

    def subscribed(self, connection: MqttConnection) -> None:
        """Send the messages that wait for a device, when it is ready for them."""
        session = _session_of(connection)
        if session.for_messages in session.filters:
            for message in tuple(session.waiting):
                self._deliver(connection, session, message)
        self._deliver_inputs(connection, session)

    def left(self, connection: MqttConnection, will: Publish | None) -> None:
        self._connections.discard(connection)
        path = _session_of(connection).device.path
        if self._online.get(path) is connection:
            del self._online[path]
        if will is not None and path in self._namespace.devices:
            self._accept(connection, will, is_will=True)

    # --- telemetry

    def _accept(self, connection: MqttConnection, publish: Publish, *, is_will: bool = False) -> None:
        device = _session_of(connection).device
        bag = bag_of(publish.topic, device)
        for target in targets(self._routes, device, dict(parse_qsl(bag)).get(OUTPUT)):
            if target is None:
                self._store(connection, publish, device, is_will=is_will)
            else:
                self._hand_over(bag, publish.payload, device, *target)

    def _hand_over(self, bag: str, body: bytes, sender: Device, module: str, name: str) -> None:
        """Into the input of another module of the same device, if there is one."""
        path = f"{sender.device_id}/{module}"
        if path not in self._namespace.devices:
            raise MqttError(f"a route leads to {path}, which does not exist")
        session = self._sessions.setdefault(path, DeviceSession(self._namespace.devices[path]))
        session.inputs.put(as_input(bag, body, sender, session.device.resource, name))
        if (online := self._online.get(path)) is not None:
            self._deliver_inputs(online, session)

    @staticmethod
    def _deliver_inputs(connection: MqttConnection, session: DeviceSession) -> None:
        if session.for_inputs in session.filters:
            for message in session.inputs.due(session.numbers()):
                connection.write(message.encoded())

    def _store(self, connection: MqttConnection, publish: Publish, device: Device, *, is_will: bool) -> None:
        hub: Hub | None = self._namespace.hub(self._telemetry)
        if hub is None:
            raise MqttError(f"the hub {self._telemetry!r} was removed")
        message = d2c_message(publish, device, is_will=is_will)
        partition = hub.partitions[zlib.crc32(device.device_id.encode()) % len(hub.partitions)]
        annotations = d2c_annotations(publish.topic, device, connection.model_id)
        hub.append([message], partition=partition, annotations=annotations)

    # --- cloud-to-device messages and direct methods

    def send(self, path: str, body: bytes, properties: Mapping[str, str]) -> None:
        """Send a device a message, now or when it connects. Raises QueueFullError."""
        session = self._sessions.setdefault(path, DeviceSession(self._namespace.devices[path]))
        message, connection = session.post(body, properties), self._online.get(path)
        if connection is not None and session.for_messages in session.filters:
            self._deliver(connection, session, message)

    @staticmethod
    def _deliver(connection: MqttConnection, session: DeviceSession, message: Publish) -> None:
        """With QoS 0 nobody acknowledges, so it counts as received once it is sent."""
        qos = session.filters[session.for_messages]
        connection.write(replace(message, qos=qos).encoded())
        if not qos:
            session.acknowledged(message.packet_id)

    async def call(self, path: str, method: str, payload: Any) -> tuple[int, Any]:
        """Call a direct method; the status and payload that the device answers. Raises NotOnlineError, TimeoutError."""
        connection = self._online.get(path)
        if connection is None or CALLS not in _session_of(connection).filters:
            raise NotOnlineError(f"{path} is not online")
        number = str(next(self._call_numbers))
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        topic = f"{METHODS}POST/{quote(method, safe='')}/?$rid={number}"
        connection.write(Publish(topic, json.dumps(payload).encode()).encoded())
        try:
            return await asyncio.wait_for(answer, CALL_SECONDS)
        finally:
            del self._calls[number]

    def _returned(self, publish: Publish) -> None:
        status, _, query = publish.topic.removeprefix(f"{METHODS}res/").partition("/?")
        answer = self._calls.get(dict(parse_qsl(query)).get("$rid", ""))
        try:
            content = json.loads(publish.payload or b"null")
            code = int(status)
        except ValueError:
            raise MqttError("the answer of a direct method is not JSON, or has no status") from None
        if answer is not None and not answer.done():
            answer.set_result((code, content))

    # --- twins

    def desire(self, path: str, changes: Properties) -> None:
        """Change the desired properties of a device's or module's twin, and notify it. Raises TwinError."""
        desired = self._twin(path).desired
        desired.patch(changes)
        topic = f"{TWIN}PATCH/properties/desired/?$version={desired.version}"
        self._tell(path, DESIRED_CHANGES, topic, {**changes, "$version": desired.version})

    def reported(self, path: str) -> Properties:
        return self._twin(path).reported.shown()

    def twin(self, path: str) -> Properties:
        return self._twin(path).shown()

    def _twin(self, path: str) -> Twin:
        return self._twins.setdefault(path, Twin())

    def _answer_twin(self, connection: MqttConnection, session: DeviceSession, publish: Publish) -> None:
        request, _, query = publish.topic.removeprefix(TWIN).partition("?")
        rid = dict(parse_qsl(query)).get("$rid", "")
        path = session.device.path
        if self._online.get(path) is not connection:
            return
        is_read = request.strip("/") == "GET"
        if self._units is not None and not self._units.admits_twin_request(time.monotonic(), is_read=is_read):
            self._tell(path, TWIN_ANSWERS, f"{TWIN}res/429/?$rid={rid}", {})
            return
        if is_read:
            self._tell(path, TWIN_ANSWERS, f"{TWIN}res/200/?$rid={rid}", self.twin(path))
            return
        reported = self._twin(path).reported
        try:
            changes = json.loads(publish.payload)
            if request.strip("/") != "PATCH/properties/reported" or not isinstance(changes, dict):
                raise TwinError("not a patch of the reported properties")
            reported.patch(changes)
        except (ValueError, TwinError):
            self._tell(path, TWIN_ANSWERS, f"{TWIN}res/400/?$rid={rid}", {})
            return
        self._tell(path, TWIN_ANSWERS, f"{TWIN}res/204/?$rid={rid}&$version={reported.version}", {})

    def _tell(self, path: str, topic_filter: str, topic: str, content: Properties) -> None:
        """Publish to a device that has subscribed to it."""
        connection = self._online.get(path)
        if connection is not None and topic_filter in _session_of(connection).filters:
            connection.write(Publish(topic, json.dumps(content).encode()).encoded())


def _session_of(connection: MqttConnection) -> DeviceSession:
    assert isinstance(connection.session, DeviceSession)
    return connection.session
