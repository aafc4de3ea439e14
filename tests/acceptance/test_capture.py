"""`dedup-service capture` beside a running service: it saves what the gateways send, and disturbs nobody."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, section
from sandbox.hub.stand_in import HubOptions, StandIn
from tests.support.processes import MINIMAL, ServiceProcess

GATEWAYS = ("gw-a", "gw-b")
COUNT = 3
TELEGRAF = {"name": "opcua", "tags": {"id": "ns=2;s=T"}}


@pytest.fixture
async def plant() -> AsyncIterator[StandIn]:
    running = StandIn(HubOptions(amqp_port=0, mqtt_port=None, consumer_groups=("dedup", "capture")))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def service(plant: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> AsyncIterator[ServiceProcess]:
    groups = tmp_path / "groups.yaml"
    groups.write_text("groups:\n- {name: telegraf, devices: ['gw-*'], format: telegraf}\n")
    running = ServiceProcess(plant, redis_url, tmp_path, namespace, DEDUP_CONFIG_FILE=str(groups))
    await running.until_ready()
    yield running
    running.process.kill()
    running.process.wait()


def send(plant: StandIn, number: int) -> None:
    """One reading, by each gateway."""
    body = json.dumps({**TELEGRAF, "fields": {"value": number}, "timestamp": 1_772_439_330_000 + number}).encode() + b"\n"
    hub = plant.namespace.hubs["telemetry"]
    for place, gateway in enumerate(GATEWAYS):
        annotations = {"iothub-connection-device-id": gateway, "iothub-connection-auth-method": '{"scope":"hidden"}'}
        message = BareMessage({}, section(APPLICATION_PROPERTIES, {"topic": "t"}) + data_section(body))
        hub.append([message], partition=hub.partitions[place], annotations=annotations)


def environment(plant: StandIn) -> dict[str, str]:
    """All that whoever captures needs to know."""
    return {**MINIMAL, "DEDUP_INPUT_CONNECTION_STRING": plant.connection_string("telemetry")}


async def command(variables: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    started = [sys.executable, "-m", "dedup_service", *arguments]
    done = await asyncio.to_thread(
        subprocess.run, started, env=variables, capture_output=True, text=True, timeout=120, check=False
    )
    printed = done.stdout + done.stderr
    assert "SharedAccess" not in printed
    assert "hidden" not in printed
    return done.returncode, done.stdout, done.stderr


def copies(answer: str) -> tuple[int, int, dict[str, int]]:
    told: dict[str, Any] = json.loads(answer)
    return told["copies"], told["distinct"], told["matches"]


async def test_what_is_captured_beside_a_running_service_can_be_tried(
    plant: StandIn, service: ServiceProcess, tmp_path: Path
) -> None:
    for number in range(COUNT):
        send(plant, number)
    folder = tmp_path / "captured"
    given = ("capture", "--consumer-group", "capture", "--from", "1h", "--count", str(COUNT), "--output", str(folder))
    code, _, said = await command(environment(plant), *given)
    assert code == 0, said
    assert f"{COUNT} events of gw-a" in said
    files = [str(path) for path in sorted(folder.iterdir())]
    assert [Path(file).name for file in files] == ["gw-a.json", "gw-b.json"]
    assert not any("hidden" in Path(file).read_text() for file in files)
    code, answer, said = await command(MINIMAL, "try", "--format", "telegraf", "--json", *files)
    assert code == 0, said
    assert copies(answer) == (2 * COUNT, COUNT, {"2": COUNT})
    config = service.environment["DEDUP_CONFIG_FILE"]
    code, grouped, said = await command(MINIMAL, "try", "--group", "telegraf", "--config", config, "--json", *files)
    assert code == 0, said
    assert copies(grouped) == copies(answer)
    # The service has its partitions as before, and reads on.
    send(plant, COUNT)
    await service.until("input_events", 2 * (COUNT + 1))
    assert (await service.answer("stats"))["totals"]["clean_readings"] == COUNT + 1
    assert "disconnected" not in service.log_path.read_text()
    found = json.loads(answer)["files"][0]["readings"][0]
    (known,) = await service.answer(f"keys?source={quote(found['source'], safe='')}&id={found['id']}")
    assert known["verdict"] == "published"


async def test_it_begins_at_the_end_and_its_output_can_be_piped(plant: StandIn) -> None:
    send(plant, 100)
    started = [sys.executable, "-m", "dedup_service", "capture", "--consumer-group", "capture", "--count", "2"]
    process = subprocess.Popen(started, env=environment(plant), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    sending = asyncio.create_task(keep_sending(plant))
    written, said = await asyncio.to_thread(process.communicate, timeout=120)
    sending.cancel()
    assert process.returncode == 0, said
    numbers = [event["decoded"]["fields"]["value"] for event in json.loads(written)["events"]]
    assert len(numbers) == 2 * len(GATEWAYS)
    assert 100 not in numbers


async def keep_sending(plant: StandIn) -> None:
    for number in range(101, 10_000):
        send(plant, number)
        await asyncio.sleep(0.1)


async def test_the_consumer_group_of_run_is_not_taken(plant: StandIn, service: ServiceProcess) -> None:
    given = ("capture", "--seconds", "20", "--consumer-group", "dedup")
    code, _, said = await command(service.environment, *given)
    assert (code, "`run` reads this one" in said) == (1, True), said
    code, _, said = await command(environment(plant), *given)
    assert (code, "must be this command's own" in said) == (1, True), said


async def test_a_consumer_group_that_is_missing_is_named(plant: StandIn) -> None:
    code, _, said = await command(environment(plant), "capture", "--consumer-group", "nothing", "--seconds", "20")
    assert (code, "consumer group nothing" in said, "must exist" in said) == (1, True, True), said


async def test_where_nothing_arrives_it_says_what_to_do(plant: StandIn, tmp_path: Path) -> None:
    given = ("capture", "--consumer-group", "capture", "--seconds", "2", "--output", str(tmp_path / "captured"))
    code, _, said = await command(environment(plant), *given)
    assert (code, "--from 1h" in said, (tmp_path / "captured").exists()) == (1, True, False), said
