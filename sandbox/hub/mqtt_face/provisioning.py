"""The provisioning service (DPS) over MQTT, on the port of the hub: a device registers, asks, and is assigned.

Source: https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-dps
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from sandbox.hub.enrollments import Enrollments
from sandbox.hub.mqtt_face import packets
from sandbox.hub.mqtt_face.connection import Face, MqttConnection
from sandbox.hub.mqtt_face.packets import Connect, MqttError, Publish
from sandbox.hub.namespace import Device
from sandbox.hub.sas import SasError

ANSWERS = "$dps/registrations/res/#"
REGISTER, QUERY = "$dps/registrations/PUT/iotdps-register/", "$dps/registrations/GET/iotdps-get-operationstatus/"
RETRY_AFTER_SECONDS = 3
"""After which time the service wants to be asked, as it says itself. The SDK asks after 2 s."""


def is_registration(user_name: str) -> bool:
    """Whether this client wants the provisioning service: its user name is {scope}/registrations/{id}/api-version=…"""
    return user_name.split("/")[1:2] == ["registrations"]


@dataclass(slots=True)
class Registration:
    """One client of the service; nothing of it outlives its connection."""

    device: Device
    filters: dict[str, int] = field(default_factory=dict)
    operation: str | None = None

    @property
    def name(self) -> str:
        return f"{self.device.path} (provisioning)"

    def subscribe(self, topic_filter: str, qos: int) -> int:
        if topic_filter != ANSWERS:
            return packets.REFUSED
        self.filters[topic_filter] = min(qos, 1)
        return self.filters[topic_filter]


class ProvisioningFace:
    def __init__(self, enrollments: Enrollments, left: Callable[[MqttConnection], None]) -> None:
        self._enrollments = enrollments
        self._left = left

    def face_of(self, connect: Connect) -> Face:
        return self

    def log_in(self, connection: MqttConnection, connect: Connect) -> tuple[Registration, float, bool]:
        """Raises SasError."""
        scope, _, rest = connect.user_name.partition("/registrations/")
        if rest.partition("/")[0] != connect.client_id:
            raise SasError("the user name is not {scope}/registrations/{id}/api-version=…")
        device, expiry = self._enrollments.authorize(scope, connect.client_id, connect.password, connection.certificate)
        return Registration(device), expiry, False

    def wait(self, publish: Publish) -> float:
        return 0.0  # registrations are not throttled

    def publish(self, connection: MqttConnection, publish: Publish) -> None:
        registration = _registration_of(connection)
        topic, _, query = publish.topic.partition("?")
        asked = dict(parse_qsl(query))
        if topic == REGISTER:
            if _registration_id(publish.payload) not in (None, registration.device.device_id):
                self._answer(connection, 400, asked, {"errorCode": 400004, "message": "Another registration id."})
                return
            registration.operation = f"4.{uuid.uuid4().hex[:16]}.{uuid.uuid4()}"
            assigning = {"operationId": registration.operation, "status": "assigning"}
            self._answer(connection, 202, asked, assigning, f"&retry-after={RETRY_AFTER_SECONDS}")
        elif topic == QUERY:
            if registration.operation is None or asked.get("operationId") != registration.operation:
                self._answer(connection, 404, asked, {"errorCode": 404201, "message": "There is no such operation."})
                return
            self._enrollments.assign(registration.device)
            self._answer(connection, 200, asked, self._assigned(registration))
        else:
            raise MqttError(f"the provisioning service knows no {topic!r}")

    def _assigned(self, registration: Registration) -> dict[str, Any]:
        name, now = registration.device.device_id, datetime.now(UTC).isoformat()
        state = {
            "registrationId": name,
            "createdDateTimeUtc": now,
            "assignedHub": self._enrollments.hub(),
            "deviceId": name,
            "status": "assigned",
            "substatus": "initialAssignment",
            "lastUpdatedDateTimeUtc": now,
            "etag": f'"{uuid.uuid4()}"',
        }
        return {"operationId": registration.operation, "status": "assigned", "registrationState": state}

    @staticmethod
    def _answer(
        connection: MqttConnection, status: int, asked: dict[str, str], content: dict[str, Any], more: str = ""
    ) -> None:
        if ANSWERS in _registration_of(connection).filters:
            topic = f"{ANSWERS.removesuffix('#')}{status}/?$rid={asked.get('$rid', '')}{more}"
            connection.write(Publish(topic, json.dumps(content).encode()).encoded())

    def acknowledged(self, connection: MqttConnection, number: int) -> None:
        """Answers have QoS 0."""

    def subscribed(self, connection: MqttConnection) -> None:
        """Nothing waits for a client."""

    def left(self, connection: MqttConnection, will: Publish | None) -> None:
        self._left(connection)


def _registration_id(payload: bytes) -> str | None:
    """That in a request's body, which may have none. Raises MqttError."""
    try:
        content = json.loads(payload or b"{}")
    except ValueError:
        raise MqttError("the body of a registration is not JSON") from None
    return content.get("registrationId") if isinstance(content, dict) else None


def _registration_of(connection: MqttConnection) -> Registration:
    assert isinstance(connection.session, Registration)
    return connection.session
