"""A plant whose modules stay as they are: two gateways with OPC Publisher behind a route, and a service. One sender
is killed and comes back. Every reading is in the clean stream, once."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubModuleClient

from sandbox.hub.mqtt_face.routes import parse_route
from sandbox.hub.stand_in import HubOptions, StandIn
from tests.support import hub
from tests.support.processes import ServiceProcess
from tests.support.senders import SenderProcess, ask_until, document, readings_of

GATEWAYS = ("gw-a", "gw-b")
ROUTES = (
    'FROM /messages/modules/opcpublisher/* INTO BrokeredEndpoint("/modules/edge-sender/inputs/plant")',
    "FROM /messages/modules/edge-sender/* INTO $upstream",
)
PLANT = {"name": "plant", "kind": "edgehub", "input": "plant", "format": "opc-publisher"}
READINGS = 300
BATCHES = {"gw-a": 7, "gw-b": 11}
"""Publishers never batch alike."""
CONTENT_TYPE = "application/x-network-message-json-v1"


@pytest.fixture
async def edge_hub() -> AsyncIterator[StandIn]:
    host = f"127.0.4.{os.getpid() % 250 + 1}"  # the SDK dials one port only, and other tests run at the same time
    devices = tuple(f"{gateway}/{module}" for gateway in GATEWAYS for module in ("opcpublisher", "edge-sender"))
    running = StandIn(HubOptions(host=host, amqp_port=0, devices=devices, routes=tuple(map(parse_route, ROUTES))))
    await running.start()
    yield running
    await running.stop()


def time_of(number: int) -> str:
    return f"2026-03-02T08:{number // 60:02}:{number % 60:02}.5Z"


def messages(gateway: str) -> Iterator[Any]:
    """What OPC Publisher sends from one gateway: its metadata, and all readings of the machine."""
    yield {"MessageType": "ua-metadata", "PublisherId": gateway, "MetaData": {"Fields": []}}
    for start in range(0, READINGS, BATCHES[gateway]):
        sets = [
            {
                "DataSetWriterName": "press",
                "MessageType": "ua-deltaframe",
                "SequenceNumber": number,
                "Payload": {"count": {"Value": number, "SourceTimestamp": time_of(number)}},
            }
            for number in range(start, min(start + BATCHES[gateway], READINGS))
        ]
        yield {"MessageType": "ua-data", "MessageId": str(start), "PublisherId": gateway, "Messages": sets}


def sender(edge_hub: StandIn, folder: Path, gateway: str, **overrides: Any) -> SenderProcess:
    return SenderProcess(
        folder,
        gateway,
        edge_hub.device_connection_string(f"{gateway}/edge-sender"),
        document(PLANT),
        EDGE_UPLINK="iot",
        EDGE_CA_FILE=str(edge_hub.ca_file),
        **overrides,
    )


async def publisher(edge_hub: StandIn, gateway: str) -> Any:
    assert edge_hub.ca_file is not None
    text = edge_hub.device_connection_string(f"{gateway}/opcpublisher")
    client = IoTHubModuleClient.create_from_connection_string(text, server_verification_cert=edge_hub.ca_file.read_text())
    await client.connect()
    return client


async def publish(client: Any, bodies: list[Any]) -> None:
    for body in bodies:
        message = Message(json.dumps(body).encode(), content_type="application/json", content_encoding="utf-8")
        message.custom_properties.update({"$$ContentType": CONTENT_TYPE, "site": "north"})
        await client.send_message_to_output(message, "messages")


def read_by(process: SenderProcess) -> int:
    """Readings that this process has taken, or -1."""
    status = process.status()
    return -1 if status is None else int(status["sources"][0]["readings"])


def sent_by(process: SenderProcess) -> int:
    status = process.status()
    return -1 if status is None else int(status["sent"]["readings"])


@pytest.mark.timeout(240)
async def test_a_plant_behind_a_route_loses_nothing_and_doubles_nothing(
    edge_hub: StandIn, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    service = ServiceProcess(edge_hub, redis_url, tmp_path, namespace)
    senders = {gateway: sender(edge_hub, tmp_path, gateway) for gateway in GATEWAYS}
    bodies = {gateway: list(messages(gateway)) for gateway in GATEWAYS}
    try:
        publishers = {gateway: await publisher(edge_hub, gateway) for gateway in GATEWAYS}
        half = {gateway: len(bodies[gateway]) // 2 for gateway in GATEWAYS}
        for gateway in GATEWAYS:
            await publish(publishers[gateway], bodies[gateway][: half[gateway]])
        await ask_until(lambda: sent_by(senders["gw-a"]) > 0, senders["gw-a"].log_tail)
        senders["gw-a"].kill()
        for gateway in GATEWAYS:  # what gw-a's publisher sends meanwhile waits for its sender
            await publish(publishers[gateway], bodies[gateway][half[gateway] :])
        await ask_until(lambda: sent_by(senders["gw-b"]) >= READINGS, senders["gw-b"].log_tail)
        senders["gw-a"].start()
        waited = READINGS - (half["gw-a"] - 1) * BATCHES["gw-a"]
        await ask_until(lambda: sent_by(senders["gw-a"]) >= waited, senders["gw-a"].log_tail)
        await ask_until(lambda: service.stats()["clean_readings"] >= READINGS, None)
        found = await clean(edge_hub, service, senders)
        for client in publishers.values():
            await client.shutdown()
    finally:
        for process in (service.process, *(one.process for one in senders.values())):
            process.kill()
            process.wait()
    assert Counter(data["Value"] for _, _, data in found) == Counter(range(READINGS))
    assert {source for source, _, _ in found} == {"server#/press/count"}


async def clean(edge_hub: StandIn, service: ServiceProcess, senders: dict[str, SenderProcess]) -> list[Any]:
    """The clean stream, once the service has read all that the hub has."""
    telemetry = sum(part.next_sequence_number for part in edge_hub.namespace.hubs["telemetry"].partitions)
    await ask_until(lambda: service.stats()["input_events"] >= telemetry, "the service does not read all")
    events = await hub.read_all(edge_hub.connection_string("clean"))
    assert {hub.properties(event)["site"] for event in events} == {b"north"}
    assert all("$$ContentType" not in hub.properties(event) for event in events)
    assert await hub.read_all(edge_hub.connection_string("dead-letter")) == []
    for process in senders.values():
        status = await process.answered_status()
        assert not any(status["dropped"].values()), status["dropped"]
    return [reading for event in events for reading in readings_of(event)]


@pytest.mark.timeout(240)
async def test_a_sender_killed_between_receipt_and_commit_gets_everything_again(edge_hub: StandIn, tmp_path: Path) -> None:
    process = sender(edge_hub, tmp_path, "gw-a", EDGE_SPOOL_COMMIT_SECONDS="3600")
    try:
        client = await publisher(edge_hub, "gw-a")
        await publish(client, list(messages("gw-a"))[:20])
        taken = 19 * BATCHES["gw-a"]
        await ask_until(lambda: read_by(process) == taken, process.log_tail)
        assert sent_by(process) < taken, "all was committed, and this test shows nothing"
        process.kill()
        process.environment["EDGE_SPOOL_COMMIT_SECONDS"] = "0.1"
        process.start()
        await ask_until(lambda: len(numbers_sent(edge_hub)) == taken, None)
        await client.shutdown()
    finally:
        process.kill()
    assert numbers_sent(edge_hub) == {*range(taken)}


@pytest.mark.timeout(240)
async def test_a_module_that_has_nothing_to_send_hears_its_inputs_again_after_its_hub_was_away(
    edge_hub: StandIn, tmp_path: Path
) -> None:
    process = sender(edge_hub, tmp_path, "gw-a")
    bodies = [body for body in messages("gw-a") if "Messages" in body]
    try:
        for number, body in enumerate(bodies[:2], 1):
            client = await publisher(edge_hub, "gw-a")
            await publish(client, [body])
            expected = number * BATCHES["gw-a"]
            await ask_until(partial(lambda count: sent_by(process) >= count, expected), process.log_tail)
            await client.shutdown()
            await edge_hub.restart(seconds_down=0.3, keep_log=True)
    finally:
        process.kill()


def numbers_sent(edge_hub: StandIn) -> set[int]:
    """Values of all readings that the hub has."""
    found: set[int] = set()
    for partition in edge_hub.namespace.hubs["telemetry"].partitions:
        for entry in partition.entries:
            found |= {int(value) for value in re.findall(rb'"Value": ?(\d+)', entry.message)}
    return found
