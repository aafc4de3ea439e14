"""How an existing plant starts: run in mode `observe`, read the report, then run in mode `drop`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dedup_service.commands.report import hours_of
from dedup_service.core.times import rfc3339
from dedup_service.partitions.takeover import CLOCKS_APART_MS
from sandbox.hub.stand_in import StandIn
from tests.support import edges, hub
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess

READINGS = 40
START_MS = 1_767_225_600_000


def reading(source: str, reading_id: str, at_ms: int, value: int | None = None) -> dict[str, Any]:
    attributes = {"specversion": "1.0", "type": "t", "source": source, "id": reading_id, "time": rfc3339(at_ms)}
    return {**attributes, "data": {"value": at_ms if value is None else value}}


def plant(stand_in: StandIn) -> int:
    """Two replicas; the readings of `jittering` are stamped by each of them, 30 ms apart. All came long enough ago to lie
    before the moment from which publishing begins, however soon that is."""
    telemetry, enqueued_ms = stand_in.namespace.hubs["telemetry"], time.time_ns() // 1_000_000 - 2 * CLOCKS_APART_MS
    for n in range(READINGS):
        at_ms = START_MS + 1000 * n
        for replica in range(2):
            jitter = at_ms + 30 * replica
            readings = [reading("urn:good", f"good-{n}", at_ms), reading("urn:jittering", f"jittering-{jitter}", jitter)]
            if replica == 0:
                readings.append(reading("urn:alone", f"alone-{n}", at_ms))
            edges.deliver(telemetry, replica, f"edge-{replica}", edges.batch(readings), enqueued_ms)
    return 2 * READINGS


def report(service: ServiceProcess, *arguments: str) -> str:
    command = [sys.executable, "-m", "dedup_service", "report", *arguments]
    done = subprocess.run(command, env=service.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def report_with(words: str, service: ServiceProcess, *arguments: str) -> str:
    """The report, once it has these words: in which mode a pod runs is known while it reports, each second or so."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while words not in (text := await asyncio.to_thread(report, service, *arguments)):
            await asyncio.sleep(0.2)
        return text


async def test_after_observing_and_a_report_the_service_drops(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    service = ServiceProcess(stand_in, redis_url, tmp_path, namespace, DEDUP_MODE="observe")
    try:
        await service.until_ready()
        events = plant(stand_in)
        await service.until("input_events", events)
        (found,) = json.loads(await report_with('"mode": "observe"', service, "--json")).values()
        by_name = {item["source"]: item for item in found["sources"]}
        good, jittering, alone = (by_name[f"urn:{name}"] for name in ("good", "jittering", "alone"))
        assert (good["match_rate"], good["duplicate_share"], good["verdict"]) == (1, 0.5, "good")
        assert [item["coverage"] for item in good["replicas"]] == [1, 1]
        assert (jittering["match_rate"], jittering["can_be_deduplicated"]) == (0, False)
        assert jittering["nearest_ms"] == pytest.approx(30, rel=0.05)
        assert "30 ms apart" in jittering["verdict"] or "31 ms apart" in jittering["verdict"]
        assert "time-bucket" in jittering["verdict"]
        assert "only edge-0 sends it" in alone["verdict"]
        assert [item["can_be_deduplicated"] for item in (good, alone)] == [True, None]
        assert [(item["reason"], item["examples"]) for item in found["undecided"]] == [("one-sender", ["urn:alone"])]
        assert found["deployment"] == {"namespace": namespace, "mode": "observe", "configured_mode": "observe"}
        text = await report_with(" mode observe,", service, "--since", "1h")
        assert text.startswith(f"group default of namespace {namespace}, mode observe, last 1 h: 3 sources\n")
        assert "1 of 3 sources can't be deduplicated" in text
        assert "1 of 3 sources is undecided" in text
        service.environment["DEDUP_MODE"] = "drop"  # as where it was set for the line with `run` only
        mistaken = await report_with(
            "  the pods run in mode observe, but this command is set to drop", service, "--since", "1h"
        )
        assert [line for line in mistaken.splitlines() if "this command" not in line] == text.splitlines()
        assert not any(partition.entries for partition in stand_in.namespace.hubs["clean"].partitions)
    finally:
        service.process.kill()
        service.process.wait()

    dropping = ServiceProcess(stand_in, redis_url, tmp_path, namespace)
    try:
        late_copy = edges.batch([reading("urn:good", "good-1", START_MS)])  # its first copy was only observed
        edges.deliver(stand_in.namespace.hubs["telemetry"], 1, "edge-1", late_copy, time.time_ns() // 1_000_000)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not (published := await hub.read_all(stand_in.connection_string("clean"))):
                await asyncio.sleep(0.1)
        assert [part["id"] for event in published for part in hub.elements(event)] == ["good-1"]
    finally:
        dropping.process.kill()
        dropping.process.wait()


async def test_a_report_names_the_traps_of_a_plant(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    """Of two gateways one sends what nobody has named a format for, both have their names in a source, and one repeats old
    values with new times."""
    service = ServiceProcess(stand_in, redis_url, tmp_path, namespace, DEDUP_MODE="observe")
    try:
        await service.until_ready()
        telemetry, now_ms = stand_in.namespace.hubs["telemetry"], time.time_ns() // 1_000_000
        samples = edges.foreign(b'[{"NodeId": "ns=2;s=a", "Value": {"Value": 1}}]')
        count = 0
        for n in range(READINGS):
            at_ms = START_MS + 10_000 * n
            for replica, name in enumerate("AB"):
                readings = [
                    reading("urn:beating", f"beating-{n}", at_ms, n),
                    reading(f"Plant/Press-{name}/flow", f"flow-{n}", at_ms, n),
                    reading("urn:late", f"late-{n}-{replica}", at_ms + 3_600_000 * replica, n),
                ]
                if replica:
                    readings.append(reading("urn:beating", f"beat-{n}", at_ms + 5003, n))
                edges.deliver(telemetry, replica, f"edge-{replica}", edges.batch(readings), now_ms)
                count += 1
            if n % 10 == 0:
                edges.deliver(telemetry, 0, "edge-0", samples, now_ms)
                count += 1
        await service.until("input_events", count)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not (found := json.loads(await asyncio.to_thread(report, service, "--json")))["default"]["recognised"]:
                await asyncio.sleep(0.2)  # pods report each second
        found = found["default"]
        assert [(item["looks_like"], item["messages"], item["format"]) for item in found["recognised"]] == [
            ("OPC Publisher's Samples", READINGS // 10, "opc-publisher")
        ]
        traps = {trap["kind"]: trap for trap in found["traps"]}
        assert set(traps) == {"watchdog", "one-segment", "time-zone"}
        assert (traps["watchdog"]["replicas"], traps["watchdog"]["example"]) == (["edge-1"], "urn:beating")
        assert traps["one-segment"]["sources"] == 2
        assert '{"Press-*": "Press"}' in traps["one-segment"]["text"]
        assert " 1 h " in traps["time-zone"]["text"]
        text = await asyncio.to_thread(report, service, "--since", "1h")
        assert "4 messages look like OPC Publisher's Samples; set `format: opc-publisher`" in text
        assert "edge-1 (40 times) repeated an old value with a new time" in text
    finally:
        service.process.kill()
        service.process.wait()


def test_a_report_without_redis_says_which_setting_is_wrong(stand_in: StandIn, tmp_path: Path) -> None:
    environment = ServiceProcess.environment_of(stand_in, "redis://127.0.0.1:1", tmp_path, "none", 1)
    command = [sys.executable, "-m", "dedup_service", "report"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("dedup-service: DEDUP_REDIS_URL: Redis: no answer")


@pytest.mark.parametrize(("text", "hours"), [("90m", 2), ("24h", 24), ("1d", 1 * 24), ("1m", 1)])
def test_a_duration_is_rounded_up_to_hours(text: str, hours: int) -> None:
    assert hours_of(text) == hours


@pytest.mark.parametrize("text", ["", "h", "25h", "0h", "-1h", "1 week"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a duration|not between"):
        hours_of(text)
