"""Replicas split over two IoT Hubs, for instance in two regions.

Their copies are duplicates of each other, and a region that is unavailable does not hold up the other.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.amqp.messages import BareMessage, data_section
from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.processes import free_port
from tests.support import edges, hub
from tests.support.service import DEADLINE_SECONDS, RunningService, running_service

SHAPE = {"time": "/at", "time_format": "ms", "value": ["/v"]}
FORMATS = {
    "inputs": [
        {
            "name": name,
            "connection_string_env": f"TEST_{name.upper()}",
            "consumer_group": "dedup",
            "format": "json",
            "format_options": {**SHAPE, **options},
        }
        for name, options in (
            ("west", {"readings": "/*", "source": ["/tag"]}),
            ("east", {"inside": "/text", "source": ["outer:/subject"]}),
        )
    ],
    "groups": [
        {"name": "own", "devices": ["own-*"], "format": "cloudevents"},
        {"name": "plant", "devices": ["edge-*"], "expected_replicas": 2},
    ],
}
FILE = """\
inputs:
  - {name: west, connection_string_env: TEST_WEST, consumer_group: dedup}
  - {name: east, connection_string_env: TEST_EAST, consumer_group: dedup}
groups:
  - {name: plant, devices: ["edge-*"], expected_replicas: 2}
"""
READINGS = 30


@pytest.fixture
async def east() -> AsyncIterator[StandIn]:
    """The second hub, created but not started."""
    running = StandIn(HubOptions(amqp_port=free_port(), mqtt_port=None))
    yield running
    await running.stop()


def send(stand_in: StandIn, device: str, numbers: range) -> None:
    for n in numbers:
        told = {"specversion": "1.0", "type": "t", "source": "urn:plant:a", "id": str(n), "data": n}
        edges.deliver(stand_in.namespace.hubs["telemetry"], n % 4, device, edges.single(told), time.time_ns() // 1_000_000)


async def clean_ids(stand_in: StandIn) -> list[int]:
    events = await hub.read_all(stand_in.connection_string("clean"))
    return sorted(int(hub.properties(event)["cloudEvents_id"]) for event in events)


async def until_clean(stand_in: StandIn, ids: range) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await clean_ids(stand_in) != list(ids):
            await asyncio.sleep(0.1)


def two_inputs(west: StandIn, east: StandIn, folder: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> dict[str, Any]:
    """The settings of a service that reads both."""
    (path := folder / "groups.yaml").write_text(file)
    monkeypatch.setenv("TEST_WEST", west.connection_string("telemetry"))
    monkeypatch.setenv("TEST_EAST", east.connection_string("telemetry"))
    return {"input_connection_string": None, "input_consumer_group": None, "config_file": path}


async def by_name(service: RunningService, name: str) -> dict[str, Any]:
    groups: list[dict[str, Any]] = await service.ask("/v1/groups")
    return next(group for group in groups if group["group"] == name)


async def test_two_regions_are_one_stream(
    stand_in: StandIn,
    east: StandIn,
    redis_url: str,
    tmp_path: Path,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overrides = two_inputs(stand_in, east, tmp_path, monkeypatch, FILE)
    async with running_service(stand_in, redis_url, tmp_path, namespace, **overrides) as service:
        send(stand_in, "edge-west", range(READINGS))
        await until_clean(stand_in, range(READINGS))  # although the east has never been up

        await east.start()
        send(east, "edge-east", range(2 * READINGS))
        await until_clean(stand_in, range(2 * READINGS))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (group := (await service.ask("/v1/groups"))[0])["figures"]["24h"]["copies"] < 3 * READINGS:
                await asyncio.sleep(0.1)
        assert group["figures"]["24h"]["by_replicas"] == {"1": READINGS, "2": READINGS}
        partitions = {item["partition"] for item in await service.ask("/v1/partitions")}
        assert partitions == {f"{name}/{n}" for name in ("west", "east") for n in range(4)}
        assert await clean_ids(stand_in) == list(range(2 * READINGS))


async def test_each_input_has_a_format_and_copies_in_both_are_one_reading(
    stand_in: StandIn,
    east: StandIn,
    redis_url: str,
    tmp_path: Path,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await east.start()
    overrides = two_inputs(stand_in, east, tmp_path, monkeypatch, json.dumps(FORMATS))
    at = time.time_ns() // 1_000_000
    async with running_service(stand_in, redis_url, tmp_path, namespace, **overrides) as service:
        await service.until_ready()
        for n in range(READINGS):
            reading = {"at": at + n, "v": n}
            wrapped = {"subject": "press", "text": json.dumps(reading)}
            for region, device, body in (
                (stand_in, "edge-west", [{"tag": "press", **reading}]),
                (east, "edge-east", wrapped),
            ):
                message = BareMessage({}, data_section(json.dumps(body).encode()))
                edges.deliver(region.namespace.hubs["telemetry"], n % 4, device, message, at)
        send(east, "own-east", range(READINGS))  # a group that names its format
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (stats := await service.ask("/v1/stats"))["totals"]["copies"] < 3 * READINGS:
                await asyncio.sleep(0.1)
        async with asyncio.timeout(DEADLINE_SECONDS):  # all pods read what one of them has made, up to a second ago
            while True:
                plant, own = await by_name(service, "plant"), await by_name(service, "own")
                found = [group["figures"]["24h"]["by_replicas"] for group in (plant, own)]
                if found == [{"2": READINGS}, {"1": READINGS}]:
                    break
                await asyncio.sleep(0.1)
    assert (plant["format"], own["format"]) == ("json", "cloudevents")
    assert stats["totals"]["dead_lettered"] == 0
