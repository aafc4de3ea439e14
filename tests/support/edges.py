"""Devices' messages as IoT Hub stores them, for tests that fill the log without a connection."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, properties_section, section
from sandbox.hub.log import Hub
from tests.support.hub import BATCH


def batch(elements: Iterable[Any]) -> BareMessage:
    return BareMessage({}, properties_section(content_type=BATCH) + data_section(json.dumps(list(elements)).encode()))


def foreign(body: bytes) -> BareMessage:
    """What another sender sends as JSON."""
    return BareMessage({}, properties_section(content_type="application/json") + data_section(body))


def single(attributes: dict[str, Any]) -> BareMessage:
    """A reading in binary mode; `data` is the body."""
    properties = {f"cloudEvents_{name}": value for name, value in attributes.items() if name != "data"}
    return BareMessage(
        {}, section(APPLICATION_PROPERTIES, properties) + data_section(json.dumps(attributes["data"]).encode())
    )


def deliver(hub: Hub, partition: int, device: str, message: BareMessage, at_ms: int, source: str = "Telemetry") -> None:
    """Stores the message as the hub would have stored it at that time."""
    annotations = {"iothub-connection-device-id": device, "iothub-message-source": source, "iothub-enqueuedtime": at_ms}
    hub.partitions[partition].append(message, annotations, at_ms)
    hub.partitions[partition].notify()
