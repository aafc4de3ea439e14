"""Plant → edge sender → hub: both stampings, all identity strategies and uplinks, with the real OPC UA and Azure SDKs."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData

from edge_sender.ports import UplinkError
from edge_sender.sender import Sender
from edge_sender.uplinks.eventhubs import EventHubsUplink
from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.processes import free_port
from sandbox.plant.server import Plant, PlantOptions
from sandbox.plant.sources import PACES, QUANTITIES
from sandbox.plant.stamping import Stamping
from tests.support import hub
from tests.support.senders import device_of, make, readings_of, sources, until
from tests.support.workload import workload_api

EDGES = ("edge-1/sender", "edge-2")
EMITTED = 300
BUCKETS = ",".join(f"*/{name}=time-bucket:{1 / pace}" for name, pace in zip(QUANTITIES, PACES, strict=True)) + ",*=sequence"
"""Each source's own interval; the plant's phase and jitter stay below half of it."""
DEADLINE_SECONDS = 60.0


@pytest.fixture
async def iot_hub() -> AsyncIterator[StandIn]:
    host = f"127.0.2.{os.getpid() % 250 + 1}"
    running = StandIn(HubOptions(host=host, amqp_port=0, devices=EDGES))
    await running.start()
    yield running
    await running.stop()


async def emit(plant: Plant, senders: list[Sender]) -> None:
    """Run the senders until the plant has emitted enough, and let them flush."""
    await plant.start()
    stop = asyncio.Event()
    running = [asyncio.create_task(sender.run(stop)) for sender in senders]
    machines = asyncio.create_task(plant.run())
    async with asyncio.timeout(DEADLINE_SECONDS):
        while plant.emitted < EMITTED:
            await asyncio.sleep(0.05)
    await plant.halt()
    await machines
    async with asyncio.timeout(DEADLINE_SECONDS):
        while any(sender.counters.readings.total() < plant.emitted for sender in senders):
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*running)
    await plant.stop()


def sender_for(iot_hub: StandIn, plant: Plant, edge: str, identity: str, **overrides: Any) -> Sender:
    settings = {
        "sources": sources(plant, identity),
        "uplink": "iot",
        "connection_string": iot_hub.device_connection_string(edge),
        "ca_file": iot_hub.ca_file,
        **overrides,
    }
    return make(**settings)


def ids_by_counter(events: list[EventData], replica: str | None = None) -> dict[tuple[str, int], str]:
    """The id of each (source, counter), from single events and batches alike."""
    ids: dict[tuple[str, int], str] = {}
    for item in events:
        if replica is not None and device_of(item) != replica:
            continue
        for source, reading_id, data in readings_of(item):
            ids[source, data["sequence"]] = reading_id
    return ids


async def received(iot_hub: StandIn) -> list[EventData]:
    return await hub.read_all(iot_hub.connection_string("telemetry"))


@pytest.mark.parametrize(
    ("identity", "stamping"),
    [
        ("*/vibration=sequence,*=source-time", None),
        ("content", None),
        ("sequence", Stamping()),
        (BUCKETS, Stamping(phase=0.2, jitter=0.1)),
    ],
    ids=["source-time", "content", "sequence", "time-bucket"],
)
async def test_two_replicas_give_the_same_reading_the_same_id(
    iot_hub: StandIn, tmp_path: Path, identity: str, stamping: Stamping | None
) -> None:
    options = PlantOptions(free_port(), tmp_path / "journal", stamping, wait_for_subscribers=2, seed=1)
    plant = Plant(options)
    senders = [
        sender_for(iot_hub, plant, EDGES[0], identity=identity, batch_max_readings=1),
        sender_for(iot_hub, plant, EDGES[1], identity=identity, batch_max_readings=30),
    ]
    await emit(plant, senders)
    events = await received(iot_hub)
    one, two = ids_by_counter(events, "edge-1"), ids_by_counter(events, "edge-2")
    assert len(one) == plant.emitted >= EMITTED
    assert one == two
    assert max(Counter(one.values()).values()) == 1
    journal = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert {(item["source"], item["sequence"]) for item in journal} == {(s.rpartition(";s=")[2], n) for s, n in one}


async def test_stamping_per_subscription_gives_each_replica_other_times(iot_hub: StandIn, tmp_path: Path) -> None:
    plant = Plant(PlantOptions(free_port(), stamping=Stamping(), wait_for_subscribers=2, seed=1))
    senders = [sender_for(iot_hub, plant, edge, identity="source-time") for edge in EDGES]
    await emit(plant, senders)
    events = await received(iot_hub)
    one, two = ids_by_counter(events, "edge-1"), ids_by_counter(events, "edge-2")
    assert set(one) == set(two)
    assert not set(one.values()) & set(two.values())


async def test_an_edge_sends_directly_to_an_event_hub_and_names_itself(iot_hub: StandIn, tmp_path: Path) -> None:
    plant = Plant(PlantOptions(free_port(), wait_for_subscribers=1))
    sender = sender_for(
        iot_hub,
        plant,
        EDGES[0],
        identity="sequence",
        uplink="event-hubs",
        connection_string=iot_hub.connection_string("telemetry"),
        replica="edge-7",
    )
    await emit(plant, [sender])
    events = await received(iot_hub)
    assert len(ids_by_counter(events)) == plant.emitted
    assert {item.properties[b"cloudEvents_replica"] for item in events} == {b"edge-7"}
    assert len({item.partition_key for item in events}) == 1


async def test_an_edge_runs_as_an_iot_edge_module(iot_hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment that the Edge runtime's debugger gives a module."""
    monkeypatch.setenv("EdgeHubConnectionString", iot_hub.device_connection_string("edge-1/sender"))
    monkeypatch.setenv("EdgeModuleCACertificateFile", str(iot_hub.ca_file))
    plant = Plant(PlantOptions(free_port(), wait_for_subscribers=1))
    sender = sender_for(iot_hub, plant, EDGES[0], identity="sequence", uplink="iot-edge", connection_string=None)
    await emit(plant, [sender])
    events = await received(iot_hub)
    assert len(ids_by_counter(events, "edge-1")) == plant.emitted
    assert {item.system_properties[b"iothub-connection-module-id"] for item in events} == {b"sender"}


def workload_api_of(iot_hub: StandIn, port: int = 0) -> AbstractContextManager[str]:
    device = iot_hub.namespace.devices["edge-1/sender"]
    assert iot_hub.ca_file is not None
    return workload_api("sender", device.generation_id, device.key, iot_hub.ca_file.read_text(), port)


def as_module(iot_hub: StandIn, workload: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the variables that the runtime sets."""
    for name, value in {
        "DEVICEID": "edge-1",
        "MODULEID": "sender",
        "MODULEGENERATIONID": iot_hub.namespace.devices["edge-1/sender"].generation_id,
        "IOTHUBHOSTNAME": iot_hub.namespace.iot_hub_name,
        "GATEWAYHOSTNAME": iot_hub.options.host,
        "WORKLOADURI": workload,
        "APIVERSION": "2019-01-30",
        "AUTHSCHEME": "sasToken",
    }.items():
        monkeypatch.setenv(f"IOTEDGE_{name}", value)


async def test_the_iot_edge_runtime_starts_it_as_a_module(iot_hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment that the runtime gives a module, and the runtime's workload API."""
    with workload_api_of(iot_hub) as address:
        as_module(iot_hub, address, monkeypatch)
        plant = Plant(PlantOptions(free_port(), wait_for_subscribers=1))
        sender = sender_for(iot_hub, plant, EDGES[0], identity="sequence", uplink="iot-edge", connection_string=None)
        await emit(plant, [sender])
    events = await received(iot_hub)
    assert len(ids_by_counter(events, "edge-1")) == plant.emitted


async def test_readings_wait_for_a_workload_api_that_starts_late(iot_hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a boot the runtime may start a module before it answers it."""
    port = free_port()
    as_module(iot_hub, f"http://127.0.0.1:{port}", monkeypatch)
    plant = Plant(PlantOptions(free_port(), wait_for_subscribers=1))
    sender = sender_for(iot_hub, plant, EDGES[0], identity="sequence", uplink="iot-edge", connection_string=None)

    async def arrive(started: ExitStack) -> None:
        await until(lambda: sender.store.readings > 0, "nothing is kept meanwhile")
        assert not sender.delivery.uplink_is_up
        started.enter_context(workload_api_of(iot_hub, port))

    with ExitStack() as started:
        arriving = asyncio.create_task(arrive(started))
        await emit(plant, [sender])
        await arriving
    assert len(ids_by_counter(await received(iot_hub), "edge-1")) == plant.emitted


async def test_readings_wait_for_a_hub_that_starts_late(tmp_path: Path) -> None:
    late = StandIn(HubOptions(amqp_port=free_port(), mqtt_port=None))
    plant = Plant(PlantOptions(free_port(), wait_for_subscribers=1))
    sender = make(
        sources=sources(plant, "sequence"),
        uplink="event-hubs",
        connection_string=late.connection_string("telemetry"),
        replica="edge-1",
        send_timeout_seconds=2,
    )

    async def arrive() -> None:
        while plant.emitted < EMITTED / 2:
            await asyncio.sleep(0.05)
        await late.start()

    arriving = asyncio.create_task(arrive())
    await emit(plant, [sender])
    await arriving
    assert len(ids_by_counter(await received(late))) == plant.emitted
    assert (sender.counters.sent_readings, sender.counters.dropped.total()) == (plant.emitted, 0)
    await late.stop()


async def test_a_hub_that_accepts_connections_and_stays_silent_is_down(tmp_path: Path) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    address = (
        f"Endpoint=sb://127.0.0.1:{port}/;SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=x;UseDevelopmentEmulator=true"
    )
    uplink = EventHubsUplink(address, "edge-1", timeout_seconds=0.5)
    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(UplinkError, match="within 0.5 s"):
            await uplink.connect()
        await uplink.close()
    server.close()
