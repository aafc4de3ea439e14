"""Rolling updates that change which inputs are read, or which groups are only observed, under load: pods of both
configurations run side by side for a while."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.processes import free_port
from tests.support import edges, hub
from tests.support.senders import meanwhile
from tests.support.service import DEADLINE_SECONDS, RunningService, running_service

QUICK = {"lease_seconds": 3.0, "lease_interval_seconds": 0.3, "send_timeout_seconds": 2.0}
INPUT = "  - {{name: {name}, connection_string_env: TEST_{env}, consumer_group: dedup}}\n"
GROUPS = """\
groups:
  - {{name: ovens, devices: ["oven-*"], mode: {mode}}}
  - {{name: plant, devices: ["edge-*"]}}
"""
PODS = 2
SOME = 50


@pytest.fixture
async def east() -> AsyncIterator[StandIn]:
    running = StandIn(HubOptions(amqp_port=free_port(), mqtt_port=None))
    await running.start()
    yield running
    await running.stop()


class Plant:
    """Two gateways send each reading of two groups, one to each hub."""

    def __init__(self, *hubs: StandIn) -> None:
        self.hubs = hubs
        self.sent = 0

    async def run(self) -> None:
        while True:
            for place, stand_in in enumerate(self.hubs):
                for group in ("edge", "oven"):
                    told = {"specversion": "1.0", "type": "t", "source": f"urn:{group}", "id": str(self.sent), "data": 1}
                    log, now_ms = stand_in.namespace.hubs["telemetry"], time.time_ns() // 1_000_000
                    edges.deliver(log, (self.sent + place) % 4, f"{group}-{place}", edges.single(told), now_ms)
            self.sent += 1
            await asyncio.sleep(0.03)


def published(stand_in: StandIn, group: str) -> Counter[int]:
    entries = [entry for partition in stand_in.namespace.hubs["clean"].partitions for entry in partition.entries]
    readings = [hub.encoded_reading(entry.message) for entry in entries]
    return Counter(int(number) for source, number in readings if source == f"urn:{group}")


def last_published(stand_in: StandIn, group: str, sent: int) -> bool:
    return published(stand_in, group).keys() >= set(range(sent - SOME, sent))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.1)


async def more_published(stand_in: StandIn) -> None:
    """Waits until some more is in the clean stream."""
    target = published(stand_in, "edge").total() + SOME
    await until(lambda: published(stand_in, "edge").total() >= target)


class Deployment:
    """Pods as a rolling update leaves them: each is asked to leave once another one is ready."""

    def __init__(self, start: Any) -> None:
        self._start = start
        self._pods: list[AsyncExitStack] = []

    async def roll_out(self, file: Path) -> None:
        for _ in range(PODS):
            pod = AsyncExitStack()
            running: RunningService = await pod.enter_async_context(self._start(config_file=file))
            self._pods.append(pod)
            await running.until_ready()
            if len(self._pods) > PODS:
                await running.until(lambda running=running: running.telemetry.waits_for is not None)  # type: ignore[misc]  # binds
                assert "takes no partition while there are pods of this deployment that" in (await running.get("/readyz"))[1]
                await self._pods.pop(0).aclose()

    async def stop(self) -> None:
        for pod in self._pods:
            await pod.aclose()


def configuration(folder: Path, name: str, inputs: tuple[str, ...], mode: str) -> Path:
    file = folder / f"{name}.yaml"
    lines = "".join(INPUT.format(name=item, env=item.upper()) for item in inputs)
    file.write_text(f"inputs:\n{lines}{GROUPS.format(mode=mode)}")
    return file


WEST, BOTH = ("west",), ("west", "east")


@pytest.mark.parametrize(
    ("before", "after"),
    [((WEST, "drop"), (BOTH, "drop")), ((BOTH, "drop"), (WEST, "drop")), ((BOTH, "observe"), (BOTH, "drop"))],
    ids=["input-added", "input-removed", "group-published"],
)
async def test_a_rolling_update_under_load_loses_nothing_and_doubles_nothing(
    stand_in: StandIn,
    east: StandIn,
    redis_url: str,
    tmp_path: Path,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[tuple[str, ...], str],
    after: tuple[tuple[str, ...], str],
) -> None:
    monkeypatch.setenv("TEST_WEST", stand_in.connection_string("telemetry"))
    monkeypatch.setenv("TEST_EAST", east.connection_string("telemetry"))
    plant = Plant(stand_in, east)

    def start(**more: Any) -> Any:
        hubs = {"input_connection_string": None, "input_consumer_group": None}
        return running_service(stand_in, redis_url, tmp_path, namespace, **QUICK, **hubs, **more)

    deployment = Deployment(start)
    try:
        async with meanwhile(plant.run()):
            await deployment.roll_out(configuration(tmp_path, "before", *before))
            await more_published(stand_in)
            await deployment.roll_out(configuration(tmp_path, "after", *after))
            await more_published(stand_in)
        for group in ("edge", "oven"):
            await until(partial(last_published, stand_in, group, plant.sent))
    finally:
        await deployment.stop()
    for group in ("edge", "oven"):
        ids = published(stand_in, group)
        assert set(ids.values()) == {1}
        first = 0 if "observe" not in before or group == "edge" else min(ids)
        assert ids.keys() == set(range(first, plant.sent))
