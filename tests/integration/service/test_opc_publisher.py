"""OPC Publisher's messages from SDKs that others wrote: the JavaScript SDK for Event Hubs, and the IoT device SDK."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from azure.eventhub import EventData
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubModuleClient

from dedup_service.telemetry import Count
from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.node import install_node_packages
from tests.support import hub, peers
from tests.support.service import RunningService, running_service

PUBSUB, SAMPLES = "application/x-network-message-json-v1", "application/x-monitored-item-json-v1"
RUNTIME_STATE, DIAGNOSTICS = (
    "application/x-runtimestate-message-v2-json",
    "application/x-writergroup-diagnostics-message-v2-json",
)
GROUPS = {"groups": [{"name": "press", "format": "opc-publisher", "format_options": {"constant": "urn:press-plc"}}]}


class Reading(NamedTuple):
    field: str
    value: Any
    time: str


READINGS = [
    Reading(field, value + n, f"2026-03-02T08:15:{n:02}.1Z") for n in range(20) for field, value in (("T", 21.5), ("ä/ß", 7))
]


def body_of(event: EventData) -> Any:
    body = hub.body(event)
    return json.loads(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)


def readings_in(body: Any) -> Iterator[tuple[str, Reading]]:
    """(`pubsub` or `sample`, reading) of a body of either mode."""
    for element in body if isinstance(body, list) else [body]:
        if "NodeId" in element:
            value = element["Value"]
            yield "sample", Reading(element["DisplayName"], value["Value"], value["SourceTimestamp"])
        for message in element.get("Messages", []):
            for name, value in message["Payload"].items():
                yield "pubsub", Reading(name, value["Value"], value["SourceTimestamp"])


async def all_clean(stand_in: StandIn) -> list[EventData]:
    return await hub.read_all(stand_in.connection_string("clean"))


def assert_each_once(events: list[EventData]) -> None:
    found = Counter(reading for event in events for reading in readings_in(body_of(event)))
    assert found == Counter((mode, reading) for mode in ("pubsub", "sample") for reading in READINGS)


def configuration(folder: Path) -> Path:
    path = folder / "groups.json"
    path.write_text(json.dumps(GROUPS))
    return path


@pytest.fixture
async def service(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> AsyncIterator[RunningService]:
    async with running_service(stand_in, redis_url, tmp_path, namespace, config_file=configuration(tmp_path)) as running:
        yield running


async def test_what_three_versions_send_with_the_javascript_sdk_is_published_once(
    stand_in: StandIn, service: RunningService
) -> None:
    await asyncio.to_thread(install_node_packages)
    telemetry, text = stand_in.connection_string("telemetry"), json.dumps([reading._asdict() for reading in READINGS])
    sent = 0
    for partition, mode in enumerate(("strict", "batched", "old")):
        answer: Any = await asyncio.to_thread(peers.run_node, "opc_publisher.mjs", telemetry, str(partition), mode, text)
        sent += answer["events"]
    await service.until_events(sent)
    clean = await all_clean(stand_in)
    assert_each_once(clean)
    metadata = [event for event in clean if "ua-metadata" in json.dumps(body_of(event))]
    assert len(metadata) == 3
    assert await hub.read_all(stand_in.connection_string("dead-letter")) == []
    assert (service.count(Count.CONFLICTS), service.count(Count.DUPLICATES)) == (0, 4 * len(READINGS))


# --- the IoT device SDK


class Version(NamedTuple):
    """How a version of OPC Publisher labels its messages, as edgeHub passes them on."""

    device: str
    batch: int
    content_type: str | None
    properties: dict[str, str]
    """`{schema}` stands for the message's schema."""


VERSIONS = (
    Version("gw-28", 3, None, {"$$ContentType": "{schema}", "iothub-message-schema": "application/json"}),
    Version("gw-29", 7, "application/json", {"$$MessageSchema": "{schema}", "$$ContentType": "application/json"}),
    Version("gw-none", 5, None, {}),
)


@pytest.fixture
async def iot_hub() -> AsyncIterator[StandIn]:
    host = f"127.0.2.{os.getpid() % 250 + 1}"  # the SDK dials one port only, and other tests run at the same time
    running = StandIn(
        HubOptions(host=host, amqp_port=0, devices=tuple(f"{version.device}/publisher" for version in VERSIONS))
    )
    await running.start()
    yield running
    await running.stop()


def messages(version: Version) -> Iterator[tuple[str, Any]]:
    """(schema, body) of everything that a publisher sends."""
    yield RUNTIME_STATE, {"MessageType": "RestartAnnouncement", "MessageVersion": 1, "DeviceId": version.device}
    yield PUBSUB, {"MessageType": "ua-metadata", "MetaData": {"Fields": []}, "PublisherId": version.device}
    for start in range(0, len(READINGS), version.batch):
        chunk = READINGS[start : start + version.batch]
        values = [{"Value": one.value, "SourceTimestamp": one.time} for one in chunk]
        sets = [
            {
                "SequenceNumber": start,
                "MessageType": "ua-deltaframe",
                "DataSetWriterName": "w",
                "Payload": {one.field: value},
            }
            for one, value in zip(chunk, values, strict=True)
        ]
        yield PUBSUB, {"MessageId": str(start), "MessageType": "ua-data", "PublisherId": version.device, "Messages": sets}
        yield (
            SAMPLES,
            [
                {
                    "NodeId": f"nsu=urn:p;s={one.field}",
                    "EndpointUrl": version.device,
                    "DisplayName": one.field,
                    "Value": value,
                }
                for one, value in zip(chunk, values, strict=True)
            ],
        )


async def send_all(iot_hub: StandIn, version: Version) -> int:
    assert iot_hub.ca_file is not None
    text = iot_hub.device_connection_string(f"{version.device}/publisher")
    client = IoTHubModuleClient.create_from_connection_string(text, server_verification_cert=iot_hub.ca_file.read_text())
    await client.connect()
    sent = 0
    for schema, body in messages(version):
        message = Message(json.dumps(body).encode(), content_type=version.content_type)
        if version.content_type:
            message.content_encoding = "utf-8"
        message.custom_properties.update({name: value.format(schema=schema) for name, value in version.properties.items()})
        await client.send_message(message)
        sent += 1
    await client.shutdown()
    return sent


async def test_messages_with_labels_of_two_versions_and_without_any_are_told_by_label_or_shape(
    iot_hub: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    # One after the other: clients of this SDK share a thread, so that making one blocks while another connects.
    sent = sum([await send_all(iot_hub, version) for version in VERSIONS])
    async with running_service(iot_hub, redis_url, tmp_path, namespace, config_file=configuration(tmp_path)) as service:
        await service.until_events(sent)
        clean = await all_clean(iot_hub)
        assert_each_once(clean)
        notices = Counter(
            hub.properties(event)["iothub-connection-device-id"] for event in clean if not [*readings_in(body_of(event))]
        )
        assert notices == {version.device.encode(): 2 for version in VERSIONS}
        assert await hub.read_all(iot_hub.connection_string("dead-letter")) == []
        assert (service.count(Count.CONFLICTS), service.count(Count.DUPLICATES)) == (0, 4 * len(READINGS))
    labels = {event.properties[b"$$ContentType"] for event in clean if b"$$ContentType" in event.properties}
    assert labels <= {b"application/json", PUBSUB.encode(), SAMPLES.encode(), RUNTIME_STATE.encode()}
    assert RUNTIME_STATE.encode() in labels, "the sender's properties are passed on"
