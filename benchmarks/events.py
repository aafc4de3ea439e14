"""Readings as IoT Hub delivers them: each once from every replica, singly or in batches, with IoT Hub's annotations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.senders import Write
from sandbox.amqp.codec import Symbol, Timestamp
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, properties_section, section
from sandbox.hub.log import Entry, Partition, now_ms

SOURCES = 40
BATCH_TYPE = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True)
class Load:
    """The content of the input hub when a drain begins."""

    readings: int
    replicas: int = 3
    batch: int = 1
    """Readings in one event."""
    body_bytes: int = 100
    """Size of each reading's data."""
    partitions: int = 4
    first: int = 0
    """The number of the first reading: loads with different ranges share no key."""

    @property
    def copies(self) -> int:
        return self.readings * self.replicas


def reading(number: int, body_bytes: int, at: str) -> dict[str, Any]:
    data = {"value": number * 0.1, "quality": "good"}
    padding = body_bytes - len(json.dumps({**data, "note": ""}))
    return {
        "specversion": "1.0",
        "type": "reading",
        "source": f"opc.tcp://plant/line-{number % SOURCES // 10}/machine-{number % SOURCES}/temperature",
        "id": f"{number:032x}",
        "time": f"{at}.{number % 1000:03}Z",
        "sequence": f"{number // SOURCES:020}",
        "sequenceepoch": "1",
        "data": {**data, "note": "x" * max(0, padding)},
    }


def single(event: dict[str, Any]) -> bytes:
    """One reading in binary mode: the encoded message without the hub's annotations."""
    body = json.dumps(event["data"]).encode()
    attributes = {f"cloudEvents_{name}": value for name, value in event.items() if name != "data"}
    properties = properties_section(message_id=event["id"], content_type=Symbol("application/json"))
    return properties + section(APPLICATION_PROPERTIES, attributes) + data_section(body)


def batched(events: list[dict[str, Any]]) -> bytes:
    """A batch of readings: the encoded message without the hub's annotations."""
    properties = properties_section(message_id=f"b-{events[0]['id']}", content_type=Symbol(BATCH_TYPE))
    return properties + data_section(json.dumps(events, separators=(",", ":")).encode())


def present_second() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def bare_messages(load: Load, replica: int, at: str, write: Write = batched) -> Iterator[bytes]:
    """One replica's events with readings of the second `at`; `write` makes one of several readings. Batches of different
    replicas have different boundaries, as in a plant."""
    numbers = range(load.first, load.first + load.readings)
    if load.batch == 1:
        for number in numbers:
            yield single(reading(number, load.body_bytes, at))
        return
    start = 0
    size = max(1, load.batch - replica * load.batch // load.replicas)
    while start < load.readings:
        yield write([reading(number, load.body_bytes, at) for number in numbers[start : start + size]])
        start, size = start + size, load.batch


def iot_hub_says(replica: int, at_ms: int) -> dict[str, Any]:
    """The annotations that IoT Hub adds about a message and its sender."""
    return {
        "iothub-connection-device-id": f"edge-{replica}",
        "iothub-connection-module-id": "sender",
        "iothub-connection-auth-method": '{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}',
        "iothub-connection-auth-generation-id": "638000000000000000",
        "iothub-enqueuedtime": Timestamp(at_ms),
        "iothub-message-source": "Telemetry",
    }


def input_log(load: Load, write: Write = batched) -> dict[str, list[Entry]]:
    """The input hub's entries by partition id: each replica has partitions of its own if there are enough."""
    at_ms, at = now_ms(), present_second()
    partitions = {str(n): Partition(str(n)) for n in range(load.partitions)}
    spread = max(1, load.partitions // load.replicas)
    for replica in range(load.replicas):
        said = iot_hub_says(replica, at_ms)
        own = [str((replica * spread + n) % load.partitions) for n in range(spread)]
        for number, bare in enumerate(bare_messages(load, replica, at, write)):
            partitions[own[number % spread]].append(BareMessage({}, bare), said, at_ms)
    return {name: partition.entries for name, partition in partitions.items()}
