"""The message that IoT Hub makes of what a device publishes.

Source: https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub (topics, system properties, limits) and
https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-construct
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from sandbox.amqp.codec import Timestamp
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, properties_section, section
from sandbox.hub.log import now_ms
from sandbox.hub.mqtt_face.packets import MqttError, Publish
from sandbox.hub.namespace import Authentication, Device

MAX_D2C_BYTES = 256 * 1024
"""IoT Hub's limit for a device-to-cloud message: body and properties together."""

_SYSTEM_PROPERTIES = {
    "$.mid": "message_id",
    "$.cid": "correlation_id",
    "$.uid": "user_id",
    "$.ct": "content_type",
    "$.ce": "content_encoding",
}


def bag_of(topic: str, device: Device) -> str:
    """The properties in a topic for telemetry, as they are encoded. Raises MqttError for any other topic."""
    prefix = f"{device.resource}/messages/events"
    if topic != prefix and not topic.startswith(f"{prefix}/"):
        raise MqttError(f"{device.path} may not publish to {topic.partition('/messages/')[0]!r}")
    return topic[len(prefix) :].strip("/")


def d2c_message(publish: Publish, device: Device, *, is_will: bool = False) -> BareMessage:
    """Raises MqttError, for which IoT Hub closes the device's connection."""
    bag, body = bag_of(publish.topic, device), publish.payload
    if len(body) + len(bag) > MAX_D2C_BYTES:
        raise MqttError(f"a message of {len(body)} bytes from {device.path} exceeds the limit of {MAX_D2C_BYTES}")
    pairs = parse_qsl(bag, keep_blank_values=True)
    system = {_SYSTEM_PROPERTIES[key]: value for key, value in pairs if key in _SYSTEM_PROPERTIES}
    custom = {key: value for key, value in pairs if not key.startswith("$.")}
    if publish.retain:
        custom["mqtt-retain"] = "true"
    if is_will:
        custom["iothub-MessageType"] = "Will"
    properties = properties_section(**system)
    return BareMessage({}, properties + section(APPLICATION_PROPERTIES, custom) + data_section(body))


def d2c_annotations(topic: str, device: Device, model_id: str | None) -> dict[str, Any]:
    """The annotations that IoT Hub itself adds to a message; a device cannot set them."""
    auth = {
        "scope": "module" if device.module_id else "device",
        "type": "sas" if device.authentication is Authentication.SAS else "x509",
        "issuer": "iothub" if device.authentication is Authentication.SAS else "external",
        "acceptingIpFilterRule": None,
    }
    subject = dict(parse_qsl(bag_of(topic, device))).get("$.sub")
    optional = {
        "iothub-connection-module-id": device.module_id,
        "dt-dataschema": model_id,
        "dt-subject": subject,
    }
    return {
        "iothub-connection-device-id": device.device_id,
        **{name: value for name, value in optional.items() if value},
        "iothub-connection-auth-method": json.dumps(auth, separators=(",", ":")),
        "iothub-connection-auth-generation-id": device.generation_id,
        "iothub-enqueuedtime": Timestamp(now_ms()),
        "iothub-message-source": "Telemetry",
    }
