"""Takeover and handover between real processes: within the promised times, with no reading lost or duplicated."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from redis.asyncio import Redis

from dedup_service.adapters.redis.timeline import RedisTimelineStore
from sandbox.hub.stand_in import StandIn
from tests.support import hub
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess
from tests.support.pulse import Pulse, finished
from tests.support.verdicts import require_verdict

TAKEOVER_SECONDS, HANDOVER_SECONDS = 10.0, 3.0
SLACK = 3
"""Factor by which the limits are relaxed, because other tests run at the same time; `make chaos` reports the real times."""
BACK_PRESSURE_MB = 150
HOST = socket.gethostname()


@pytest.fixture
async def pair(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> AsyncIterator[tuple[ServiceProcess, ServiceProcess]]:
    """Two services that share the four partitions."""
    made = [ServiceProcess(stand_in, redis_url, tmp_path, namespace) for _ in range(2)]
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while [len(await service.partitions()) for service in made] != [2, 2]:
                await asyncio.sleep(0.1)
        yield made[0], made[1]
    finally:
        for service in made:
            service.process.kill()
            service.process.wait()


@pytest.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[RedisTimelineStore]:
    async with Redis.from_url(redis_url) as client:
        yield RedisTimelineStore(client, namespace=namespace)


@pytest.mark.parametrize(("number", "limit"), [(signal.SIGKILL, TAKEOVER_SECONDS), (signal.SIGTERM, HANDOVER_SECONDS)])
async def test_another_pod_has_the_partitions_in_time(
    stand_in: StandIn, pair: tuple[ServiceProcess, ServiceProcess], number: signal.Signals, limit: float
) -> None:
    pulse = Pulse(stand_in)
    await pulse.until_all_beat()
    pair[0].process.send_signal(number)
    seconds = await pulse.until_all_beat()
    assert sorted(await finished(pulse)) == sorted(pulse.sent)
    if seconds >= SLACK * limit:
        pytest.fail(f"{seconds:.1f} s")


async def timeline(service: ServiceProcess) -> list[dict[str, Any]]:
    answer = await service.answer("timeline?limit=200")
    return cast("list[dict[str, Any]]", answer["items"])


async def until_told(service: ServiceProcess, kind: str, text: str = "", of: int = 1) -> list[dict[str, Any]]:
    """The entries of this kind with this text, once they name this many pods or partitions together."""
    entries: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                entries = await timeline(service)
                found = [entry for entry in entries if entry["kind"] == kind and text in entry["text"]]
                if sum(map(_things_named, found)) >= of:
                    return found
                await asyncio.sleep(0.2)
    except TimeoutError:
        pytest.fail(f"no {kind} {text!r} for {of} in {[(entry['text'], entry['times']) for entry in entries]}")


def _things_named(entry: dict[str, Any]) -> int:
    named = re.search(r" partitions? ([\d, ]+)", entry["text"])
    return len(named[1].split(",")) if named else 1


async def until_seen(store: RedisTimelineStore, owners: Counter[int]) -> None:
    """Until whoever looks has seen how many partitions each process has: what nobody has seen can't be told when it ends."""
    seen: Counter[int] = Counter()
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while seen != owners:
                await asyncio.sleep(0.2)
                known = (await store.load()).timeline
                seen = Counter(int(pod.split("-")[-2]) for pod in known.owners.values()) if known is not None else Counter()
    except TimeoutError:
        pytest.fail(f"seen were {seen}, not {owners}")


@pytest.mark.timeout(400)
async def test_what_happened_is_told_once_by_every_pod_and_survives_all_of_them(
    pair: tuple[ServiceProcess, ServiceProcess], store: RedisTimelineStore
) -> None:
    first, second = pair
    await until_told(second, "pod-joined")
    await until_seen(store, Counter({first.process.pid: 2, second.process.pid: 2}))
    first.process.kill()
    killed = f"-{first.process.pid}-"
    await first.wait()
    (lost,) = await until_told(second, "pod-lost", "ended without leaving")
    moved = await until_told(second, "partitions-moved", f"from {HOST}{killed}", of=2)  # in one look, or one after another
    assert all(" took over partition" in entry["text"] for entry in moved)
    first.start()
    await first.until_ready()
    await until_seen(store, Counter({first.process.pid: 2, second.process.pid: 2}))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while [entry["number"] for entry in await timeline(first)] != [entry["number"] for entry in await timeline(second)]:
            await asyncio.sleep(0.2)  # a new entry may come between both questions
    first.process.terminate()
    await first.wait()
    await until_told(second, "pod-left")
    second.process.terminate()
    await second.wait()
    second.start()
    await second.until_ready()
    entries = await timeline(second)
    assert {entry["number"] for entry in (lost, *moved)} <= {entry["number"] for entry in entries}
    (left,) = await until_told(second, "pod-left")
    assert left["times"] == 2  # both on this machine


async def test_a_process_that_was_frozen_longer_than_its_lease_does_no_harm(
    stand_in: StandIn, pair: tuple[ServiceProcess, ServiceProcess]
) -> None:
    pulse = Pulse(stand_in)
    await pulse.until_all_beat()
    for frozen in pair:
        frozen.process.send_signal(signal.SIGSTOP)
        await pulse.until_all_beat()  # from the other one, once the lease has expired
        frozen.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(2)
    assert sorted(await finished(pulse)) == sorted(pulse.sent)


async def test_memory_stays_bounded_while_the_output_is_blocked(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    service = ServiceProcess(stand_in, redis_url, tmp_path, namespace)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(await service.partitions()) != len(stand_in.namespace.hubs["telemetry"].partitions):
                await asyncio.sleep(0.1)
        process = psutil.Process(service.process.pid)
        idle = process.memory_info().rss
        stand_in.namespace.hubs["clean"].faults.refuse = "com.microsoft:server-busy"
        log = stand_in.namespace.hubs["telemetry"]
        for partition in log.partitions:
            for first in range(0, 20_000, 1000):
                made = [hub.encoded_single(f"{partition.id}-{first + n}", b"x" * 1024) for n in range(1000)]
                log.append(made, partition=partition)
                await asyncio.sleep(0)
        peak, deadline = 0, time.monotonic() + 20
        while time.monotonic() < deadline:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.1)
        print(f"idle {idle / 1e6:.0f} MB, at most {peak / 1e6:.0f} MB under back-pressure")
        assert (peak - idle) / 1e6 < BACK_PRESSURE_MB
    finally:
        service.process.kill()
        service.process.wait()


def test_services_that_are_killed_at_random_lose_nothing_and_publish_nothing_twice(tmp_path: Path) -> None:
    summary = tmp_path / "chaos.json"
    options = ["--kills", "6", "--late-seconds", "5", "--cut-seconds", "3", "--summary", str(summary)]
    command = [sys.executable, "-m", "sandbox", "chaos", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    require_verdict(done.returncode, done.stdout + done.stderr)
    figures = json.loads(summary.read_text())
    assert (figures["kills"], figures["lost"], figures["clean_duplicates"]) == (6, 0, 0)
    assert figures["readings"] > 100
    if figures["in_doubt_resolved"]["found"] == 0:
        pytest.fail("no kill came between a send and its answer")
    assert [cut["how"] for cut in figures["input_cuts"]] == ["silent", "refused"]


def test_no_reading_is_lost_when_redis_is_restarted_empty_or_fails_over_without_the_last_writes(tmp_path: Path) -> None:
    summary = tmp_path / "chaos.json"
    forgetting = ["--kills", "4", "--redis-restarts", "1", "--redis-failovers", "2", "--cut-seconds", "0"]
    options = [*forgetting, "--late-seconds", "5", "--summary", str(summary)]
    command = [sys.executable, "-m", "sandbox", "chaos", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    require_verdict(done.returncode, done.stdout + done.stderr)
    figures = json.loads(summary.read_text())
    assert (figures["lost"], figures["clean_duplicates"]) == (0, 0)
    assert (figures["redis_restarts"], figures["redis_failovers"]) == (1, 2)
    assert [item["how"] for item in figures["redis_forgot"]] == ["restart", "fail-over", "fail-over"]
    assert all(item["keys_lost"] > 0 for item in figures["redis_forgot"])
    assert figures["longest_pause_seconds"] >= max(item["pause_seconds"] for item in figures["redis_forgot"])
