"""Redis forgets under live data of three replicas. An auditor who sees the clean hub alone finds nothing lost or twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from dedup_service.telemetry import Count
from sandbox.hub.stand_in import StandIn
from sandbox.peers.valkeys import lone_valkey, replicated_valkey
from tests.support.lines import Line
from tests.support.processes import ServiceProcess
from tests.support.service import RunningService, running_service
from tests.support.valkeys import valkey_cluster

LEASE_SECONDS = 3.0
PAUSE_SECONDS = 20.0
"""The lease, which has to run out, and the rest with much slack: other tests run at the same time."""
QUICK: dict[str, Any] = {"redis_timeout_seconds": 0.5, "send_timeout_seconds": 1.0, "lease_seconds": LEASE_SECONDS}


@pytest.fixture
async def line(stand_in: StandIn) -> AsyncIterator[Line]:
    running = Line(stand_in)
    yield running
    await running.end()


async def audited(line: Line, services: list[RunningService], stand_in: StandIn) -> None:
    """Everything that was sent is worked off, nothing is lost, and nothing is there twice."""
    await line.end()
    logs = [log for log in stand_in.namespace.hubs["telemetry"].partitions if log.next_sequence_number]

    def is_finished() -> bool:
        figures = {name: own.sequence_number for service in services for name, own in service.telemetry.partitions.items()}
        return all(figures.get(log.id, -1) >= log.next_sequence_number - 1 for log in logs)

    await services[0].until(is_finished)
    assert line.lost() == set()
    assert line.doubled() == []


async def goes_on(line: Line, what: str) -> None:
    pause = await line.until_it_goes_on()
    print(f"{what}: live data went on after {pause:.1f} s")
    assert pause < PAUSE_SECONDS


@pytest.mark.parametrize("how", ["flushed", "restarted empty"])
async def test_a_valkey_that_is_empty_doubles_nothing(
    stand_in: StandIn, line: Line, tmp_path: Path, namespace: str, how: str
) -> None:
    async with lone_valkey() as valkey, running_service(stand_in, valkey.url, tmp_path, namespace, **QUICK) as service:
        await line.until_published(60)
        for _ in range(2):
            if how == "flushed":
                async with Redis(port=valkey.port) as admin:
                    assert await admin.flushall()
            else:
                await valkey.restart_empty()
            await goes_on(line, how)
            await line.until_published(60)
        await audited(line, [service], stand_in)
        assert service.count(Count.FORGOTTEN) >= 2
        assert service.count(Count.RESTORED) > 0


async def test_a_replica_that_lacks_acknowledged_writes_doubles_nothing(
    stand_in: StandIn, line: Line, tmp_path: Path, namespace: str
) -> None:
    async with replicated_valkey() as valkey, running_service(stand_in, valkey.url, tmp_path, namespace, **QUICK) as service:
        await line.until_published(60)
        for _ in range(2):
            loss = await valkey.fail_over(lambda: line.until_published(60))
            assert loss.keys
            await goes_on(line, "failed over")
            await line.until_published(60)
        await audited(line, [service], stand_in)
        assert service.count(Count.FORGOTTEN) >= 2


async def test_a_cluster_in_which_one_node_is_empty_rebuilds_its_shards_only(
    stand_in: StandIn, line: Line, tmp_path: Path, namespace: str
) -> None:
    with valkey_cluster(tmp_path / "cluster") as cluster:
        options = {**QUICK, "redis_cluster": True}
        async with running_service(stand_in, cluster.url, tmp_path, namespace, **options) as service:
            await line.until_published(60)
            of_leases = cluster.primary_of("0")
            other = next(index for index in range(3) if index != of_leases)
            for node in (other, of_leases):
                forgotten, restored = service.count(Count.FORGOTTEN), service.count(Count.RESTORED)
                before = {index: marker_generations(cluster, index, namespace) for index in range(3)}
                cluster.flush(node)
                await goes_on(line, "a cluster's node flushed")
                await line.until_published(60)
                after = {index: marker_generations(cluster, index, namespace) for index in range(3)}
                assert {index for index in range(3) if before[index] != after[index]} == {node}
                assert service.count(Count.FORGOTTEN) == forgotten + len(before[node])
                assert service.count(Count.RESTORED) > restored
            await audited(line, [service], stand_in)


def marker_generations(cluster: Any, index: int, namespace: str) -> dict[bytes, bytes]:
    node = cluster.node(index)
    return {key: node.hget(key, "generation") for key in node.scan_iter(match=f"{namespace}*marker")}


async def test_a_backlog_that_is_older_than_the_horizon_waits_for_the_rebuild(
    stand_in: StandIn, tmp_path: Path, namespace: str
) -> None:
    line = Line(stand_in, held_back=2)
    options = {**QUICK, "rebuild_horizon_seconds": 0.5, "clock_error_seconds": 0.0}
    async with lone_valkey() as valkey, running_service(stand_in, valkey.url, tmp_path, namespace, **options) as service:
        await line.until_published(200)
        await valkey.restart_empty()
        assert line.release() > 100
        await goes_on(line, "with a backlog")
        await audited(line, [service], stand_in)


async def test_with_continue_live_data_goes_on_at_once(
    stand_in: StandIn, line: Line, tmp_path: Path, namespace: str
) -> None:
    options = {**QUICK, "on_redis_loss": "continue"}
    async with lone_valkey() as valkey, running_service(stand_in, valkey.url, tmp_path, namespace, **options) as service:
        await line.until_published(60)
        async with Redis(port=valkey.port) as admin:
            await admin.flushall()
        await goes_on(line, "continue")
        await line.until_published(60)
        await line.end()
        await service.until(lambda: not line.lost())
        assert service.count(Count.FORGOTTEN) == 1
        assert service.count(Count.RESTORED) == 0


async def test_eviction_is_no_forgetting(stand_in: StandIn, line: Line, tmp_path: Path, namespace: str) -> None:
    """Where it is allowed, claims that Redis evicts are not read back."""
    async with lone_valkey() as valkey, Redis(port=valkey.port) as admin:
        await admin.config_set("maxmemory-policy", "volatile-random")
        options = {**QUICK, "allow_eviction": True}
        async with running_service(stand_in, valkey.url, tmp_path, namespace, **options) as service:
            await line.until_published(100)
            ballast = {f"ballast:{n}": "x" * 1000 for n in range(4000)}
            await admin.mset(ballast)
            for key in ballast:
                await admin.expire(key, 3600)
            used = (await admin.info("memory"))["used_memory"]
            await admin.config_set("maxmemory", used - 1_000_000)
            await line.until_published(100)
            assert (await admin.info("stats"))["evicted_keys"] > 0
            await line.end()
            await service.until(lambda: not line.lost())
            assert service.count(Count.FORGOTTEN) == 0


async def test_a_pod_that_is_killed_while_claims_are_rebuilt(
    stand_in: StandIn, line: Line, tmp_path: Path, namespace: str
) -> None:
    quick = {f"DEDUP_{name.upper()}": str(value) for name, value in QUICK.items()}
    async with lone_valkey() as valkey, Redis(port=valkey.port) as admin:
        pods = [ServiceProcess(stand_in, valkey.url, tmp_path, namespace, **quick) for _ in range(2)]
        try:
            for pod in pods:
                await pod.until_ready()
            for at in ("redis_forgot", "claims_ready"):
                await line.until_published(60)
                seen = pods[0].log_path.read_text().count(at)
                await admin.flushall()
                async with asyncio.timeout(PAUSE_SECONDS):
                    while pods[0].log_path.read_text().count(at) == seen:
                        await asyncio.sleep(0.005)
                pods[0].process.kill()
                pods[0].process.wait()
                await goes_on(line, f"a pod killed at {at}")
                pods[0].start()
                await pods[0].until_ready()
            await line.end()
            await pods[1].until_finished(stand_in)
            assert line.lost() == set()
            assert line.doubled() == []
        finally:
            for pod in pods:
                pod.process.kill()
                pod.process.wait()
