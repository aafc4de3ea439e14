"""A clean hub for each group: every reading is in its group's hub, once, even after the service was killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.hub.stand_in import HubOptions, StandIn
from tests.support import edges, hub
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess

FILE = """\
outputs:
  - {name: ovens, connection_string_env: TEST_OVENS, consumer_group: dedup}
groups:
  - {name: presses, devices: ["edge-press-*"]}
  - {name: ovens, devices: ["edge-oven-*"], output: ovens}
"""


@pytest.fixture
async def ovens() -> AsyncIterator[StandIn]:
    running = StandIn(HubOptions(amqp_port=0, mqtt_port=None))
    await running.start()
    yield running
    await running.stop()


def send(stand_in: StandIn, numbers: range) -> None:
    for n in numbers:
        for replica in range(2):
            for kind in ("press", "oven"):
                told = {"specversion": "1.0", "type": "t", "source": f"urn:{kind}:{n % 5}", "id": f"{kind}-{n}", "data": n}
                telemetry, at_ms = stand_in.namespace.hubs["telemetry"], time.time_ns() // 1_000_000
                edges.deliver(telemetry, 2 * replica, f"edge-{kind}-{replica}", edges.single(told), at_ms)


async def clean_ids(stand_in: StandIn) -> list[str]:
    events = await hub.read_all(stand_in.connection_string("clean"))
    return sorted(hub.properties(event)["cloudEvents_id"].decode() for event in events)


async def test_each_group_has_its_own_clean_hub(
    stand_in: StandIn, ovens: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text(FILE)
    more = {"DEDUP_CONFIG_FILE": str(path), "TEST_OVENS": ovens.connection_string("clean")}
    service = ServiceProcess(stand_in, redis_url, tmp_path, namespace, **more)
    try:
        await service.until_ready()
        send(stand_in, range(50))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await clean_ids(ovens):
                await asyncio.sleep(0.02)
        service.process.kill()
        await service.wait()
        service.start()
        send(stand_in, range(50, 100))
        for kind, place in (("press", stand_in), ("oven", ovens)):
            async with asyncio.timeout(DEADLINE_SECONDS):
                while set(await clean_ids(place)) != (expected := {f"{kind}-{n}" for n in range(100)}):
                    await asyncio.sleep(0.1)
            assert await clean_ids(place) == sorted(expected)
    finally:
        service.process.kill()
        service.process.wait()
