"""Groups and policies in the running service: late backlogs, foreign devices, refused sources, silent replicas."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dedup_service.core.times import rfc3339
from dedup_service.telemetry import Count
from sandbox.hub.stand_in import StandIn
from tests.support import edges, hub
from tests.support.service import DEADLINE_SECONDS, RunningService, running_service

WINDOW_SECONDS = 60
GROUPS = f"""\
groups:
  - name: presses
    devices: ["edge-press-*"]
    sources: ["urn:press:*"]
    expected_replicas: 3
    window_seconds: {WINDOW_SECONDS}
    silent_after_seconds: 4
  - name: ovens
    devices: ["edge-oven-*"]
    sources: ["urn:oven:*"]
    content_mode: structured
    content: [/value]
    on_conflict: dead-letter
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def reading(source: str, number: int, **attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "t",
        "source": source,
        "id": f"{source}#{number}",
        "data": {"value": number},
        **attributes,
    }


@pytest.fixture
async def service(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> AsyncIterator[RunningService]:
    path = tmp_path / "groups.yaml"
    path.write_text(GROUPS)
    async with running_service(stand_in, redis_url, tmp_path, namespace, config_file=path) as running:
        await running.until_ready()
        yield running


def send(stand_in: StandIn, partition: int, device: str, *readings: dict[str, Any], source: str = "Telemetry") -> None:
    message = edges.single(readings[0]) if len(readings) == 1 else edges.batch(readings)
    edges.deliver(stand_in.namespace.hubs["telemetry"], partition, device, message, now_ms(), source)


async def clean(stand_in: StandIn) -> list[Any]:
    return await hub.read_all(stand_in.connection_string("clean"))


async def test_replicas_that_were_offline_for_twice_the_window_and_reconnect_together(
    stand_in: StandIn, service: RunningService
) -> None:
    """Each reading is published once and marked late, because the claim of an earlier copy could have expired."""
    then = rfc3339(now_ms() - 2 * WINDOW_SECONDS * 1000)
    backlog = [reading("urn:press:1", n, time=then) for n in range(40)]
    for replica, size in enumerate((1, 7, 10)):
        for start in range(0, 40, size):
            send(stand_in, replica, f"edge-press-{replica}", *backlog[start : start + size])
    send(stand_in, 0, "edge-press-0", reading("urn:press:1", 99, time=rfc3339(now_ms())))
    await service.until_events(40 + 6 + 4 + 1)
    ids, late = [], 0
    for event in await clean(stand_in):
        parts = hub.elements(event) if event.content_type == hub.BATCH else [None]
        ids += [part["id"] if part else hub.properties(event)["cloudEvents_id"].decode() for part in parts]
        if flags := hub.properties(event).get("dedup_late"):
            late += len(parts) if b"-" in flags else flags.count(b",") + 1
    assert sorted(ids) == sorted(item["id"] for item in [*backlog, reading("urn:press:1", 99)])
    assert late == 40
    async with asyncio.timeout(DEADLINE_SECONDS):  # an answer may be one that was asked for a moment before
        while (figures := (await service.ask("/v1/groups"))[0]["figures"]["24h"])["readings"] != 41:
            await asyncio.sleep(0.05)
    assert figures["late"] == 40


async def test_a_hub_full_of_strangers_and_twins(stand_in: StandIn, service: RunningService) -> None:
    """Devices outside the groups cause no dead letters and do not affect a group's coverage."""
    for n in range(30):
        for replica in range(3):
            send(stand_in, replica, f"edge-press-{replica}", reading("urn:press:1", n))
        send(stand_in, 3, f"stranger-{n}", reading("urn:press:1", 1000 + n))
        edges.deliver(stand_in.namespace.hubs["telemetry"], 3, "stranger", edges.batch(["garbage"]), now_ms())
        send(stand_in, 3, "edge-press-0", reading("urn:press:1", 2000 + n), source="twinChangeEvents")
    await service.until_events(180)
    assert not stand_in.namespace.hubs["dead-letter"].partitions[0].entries
    assert dict(service.telemetry.counts[Count.IGNORED]) == {"no-group": 60, "not-telemetry": 30}
    async with asyncio.timeout(DEADLINE_SECONDS):  # an answer may be one that was asked for a moment before
        while (await service.ask("/v1/groups"))[0]["figures"]["24h"]["by_replicas"] != {"3": 30}:
            await asyncio.sleep(0.05)
    assert [r["figures"]["24h"]["coverage"] for r in await service.ask("/v1/replicas?group=presses")] == [1, 1, 1]


async def test_a_device_cannot_suppress_or_publish_what_another_group_sends(
    stand_in: StandIn, service: RunningService
) -> None:
    stolen = reading("urn:oven:1", 1)
    send(stand_in, 0, "edge-press-0", stolen)
    await service.until_events(1)
    send(stand_in, 1, "edge-oven-0", stolen)
    await service.until_events(2)
    (event,) = await clean(stand_in)
    (published,) = hub.elements(event)
    assert published["dedupdevice"] == "edge-oven-0"
    (letter,) = await hub.read_all(stand_in.connection_string("dead-letter"))
    assert hub.properties(letter)["dedup_reason"] == b"source-not-allowed"
    (key,) = await service.ask("/v1/keys?source=urn:oven:1&id=urn:oven:1%231")
    assert (key["group"], key["replicas"], key["verdict"]) == ("ovens", ["edge-oven-0"], "published")


async def test_a_consumer_that_sees_bodies_only_gets_everything(stand_in: StandIn, service: RunningService) -> None:
    """Like Azure Data Explorer: id, source, time, device and marks are in the body, and conflicts in the dead letters."""
    time_text = rfc3339(now_ms())
    send(stand_in, 0, "edge-oven-0", reading("urn:oven:1", 1, time=time_text))
    send(stand_in, 0, "edge-oven-0", reading("urn:oven:1", 2, time=time_text), reading("urn:oven:1", 3, time=time_text))
    await service.until_events(2)
    same = {**reading("urn:oven:1", 1), "data": {"value": 1, "gateway": "b"}}
    other = {**reading("urn:oven:1", 2), "data": {"value": 7}}
    send(stand_in, 1, "edge-oven-1", same, other)
    await service.until_events(3)
    parts = [part for event in await clean(stand_in) for part in hub.elements(event)]
    assert [part["id"] for part in parts] == [f"urn:oven:1#{n}" for n in (1, 2, 3)]
    for part in parts:
        assert (part["source"], part["time"], part["dedupdevice"]) == ("urn:oven:1", time_text, "edge-oven-0")
        assert (part["deduplate"], part["dedupduplicate"]) == (False, False)
        assert part["dedupenqueuedtime"].endswith("Z")
        assert set(part["data"]) == {"value"}
    (letter,) = await hub.read_all(stand_in.connection_string("dead-letter"))
    assert hub.properties(letter)["dedup_reason"] == b"conflict"
    assert json.loads(hub.body(letter)) == [other]
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (conflicts := await service.ask("/v1/conflicts")):
            await asyncio.sleep(0.1)
    assert (conflicts[0]["id"], conflicts[0]["replica"], conflicts[0]["winner_replicas"]) == (
        "urn:oven:1#2",
        "edge-oven-1",
        ["edge-oven-0"],
    )


async def test_an_edge_that_dies_is_silent_in_the_api_and_in_the_metrics(stand_in: StandIn, service: RunningService) -> None:
    def beat(replicas: int, number: int) -> None:
        for replica in range(replicas):
            send(stand_in, replica, f"edge-press-{replica}", reading("urn:press:1", number))

    async def until(replicas: int, live: int) -> None:
        number = 1000 * live + 10_000 * replicas
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                number += 1
                beat(replicas, number)
                group = (await service.ask("/v1/groups"))[0]
                metrics = (await service.get("/metrics"))[1]
                if group["live_replicas"] == live and f'dedup_group_live_replicas{{group="presses"}} {live}.0' in metrics:
                    return
                await asyncio.sleep(0.2)

    await until(replicas=3, live=3)
    died = time.monotonic()
    await until(replicas=2, live=2)
    assert time.monotonic() - died > 3  # not too early
    silent = await service.ask("/v1/replicas?state=silent")
    assert [item["replica"] for item in silent] == ["edge-press-2"]
    await until(replicas=3, live=3)
