"""Replicas split over two IoT Hubs, for instance in two regions.

Their copies are duplicates of each other, and a region that is unavailable does not hold up the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.processes import free_port
from tests.support import edges, hub
from tests.support.service import DEADLINE_SECONDS, running_service

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


async def test_two_regions_are_one_stream(
    stand_in: StandIn,
    east: StandIn,
    redis_url: str,
    tmp_path: Path,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text(FILE)
    monkeypatch.setenv("TEST_WEST", stand_in.connection_string("telemetry"))
    monkeypatch.setenv("TEST_EAST", east.connection_string("telemetry"))
    overrides: dict[str, Any] = {"input_connection_string": None, "input_consumer_group": None, "config_file": path}
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
