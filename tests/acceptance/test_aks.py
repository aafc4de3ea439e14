"""The service as it runs in AKS: checkpoints in blobs, pods replaced one by one, a Redis Cluster that fails over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sandbox.hub.stand_in import StandIn
from tests.support import hub, keda, peers
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess
from tests.support.pulse import Pulse, finished
from tests.support.valkeys import Cluster, valkey_cluster

PAUSE_SECONDS = 3.0
SLACK = 3
"""Factor by which the limit is relaxed, as in test_takeover.py."""

Pods = Callable[..., Awaitable[list[ServiceProcess]]]


@pytest.fixture
async def blobs(azurite: str) -> str:
    """The value of DEDUP_CHECKPOINT_URL."""
    return f"{azurite};ContainerName={await peers.new_container(azurite)}"


@pytest.fixture
async def pods(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str, blobs: str) -> AsyncIterator[Pods]:
    """Starts services that share the work and the checkpoints in blobs."""
    made: list[ServiceProcess] = []

    async def start(count: int, **settings: str) -> list[ServiceProcess]:
        settings = {"DEDUP_CHECKPOINT_URL": blobs, **settings}
        started = [ServiceProcess(stand_in, redis_url, tmp_path, namespace, **settings) for _ in range(count)]
        made.extend(started)
        for pod in started:
            await pod.until_ready()
        return started

    yield start
    for pod in made:
        pod.process.kill()
        pod.process.wait()


async def all_taken(pods: list[ServiceProcess], count: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while sum([len(await pod.partitions()) for pod in pods]) != count:
            await asyncio.sleep(0.1)


async def test_a_rolling_restart_under_load_loses_nothing_and_hardly_pauses(stand_in: StandIn, pods: Pods) -> None:
    """As the chart does it: a new pod is ready before an old one gets its SIGTERM."""
    running = await pods(2)
    await all_taken(running, 4)
    pulse = Pulse(stand_in, copies=2)
    await pulse.until_all_beat()
    for old in running:
        await pods(1)
        old.process.terminate()
        assert await old.wait() == 0
        await pulse.until_all_beat()
    clean = await finished(pulse)
    assert sorted(clean) == sorted(pulse.sent)
    pause = pulse.longest_pause_seconds()
    print(f"longest pause of the clean stream for one input partition: {pause:.1f} s")
    if pause >= SLACK * PAUSE_SECONDS:
        pytest.fail(f"a pause of {pause:.1f} s")


async def test_keda_reads_the_true_lag(stand_in: StandIn, pods: Pods, blobs: str, azurite: str, redis_url: str) -> None:
    container = blobs.rpartition("=")[2]
    log = stand_in.namespace.hubs["telemetry"]

    async def lag() -> dict[str, int]:
        return await keda.lag(stand_in.connection_string("telemetry"), "dedup", azurite, container)

    for n in range(300):  # partition 3 stays empty
        log.append([hub.encoded_single(f"first-{n}")], partition=log.partitions[n % 3])
    (pod,) = await pods(1)
    async with asyncio.timeout(DEADLINE_SECONDS):  # until all of them are idle
        while await lag() != {"0": 0, "1": 0, "2": 0, "3": 0}:
            await asyncio.sleep(0.1)
    pod.process.terminate()
    await pod.wait()
    for n in range(70):
        log.append([hub.encoded_single(f"second-{n}")], partition=log.partitions[n % 2])
    log.append([hub.encoded_single("third")], partition=log.partitions[3])
    assert await lag() == {"0": 35, "1": 35, "2": 0, "3": 1}
    await pods(1)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while sum((await lag()).values()):
            await asyncio.sleep(0.1)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with valkey_cluster(tmp_path / "cluster") as running:
        yield running


async def test_a_redis_cluster_may_lose_a_primary(stand_in: StandIn, pods: Pods, cluster: Cluster) -> None:
    running = await pods(2, DEDUP_REDIS_URL=cluster.url, DEDUP_REDIS_CLUSTER="true")
    await all_taken(running, 4)
    pulse = Pulse(stand_in, copies=2)
    await pulse.until_all_beat()
    cluster.kill(cluster.primary_of("0"))  # it also holds the leases
    await pulse.until_all_beat()
    clean = await finished(pulse)
    assert set(clean) == set(pulse.sent)
    again = len(clean) - len(set(clean))
    print(f"paused for {pulse.longest_pause_seconds():.1f} s; {again} of {len(pulse.sent)} readings were published again")
