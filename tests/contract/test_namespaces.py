"""A default namespace that was derived differently before: its claims are not forgotten silently, nor used beside others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from dedup_service.adapters.redis.calls import RedisClient, connect
from dedup_service.adapters.redis.leases import RedisLeases
from dedup_service.adapters.redis.namespaces import check_former_namespace
from dedup_service.errors import ConfigurationError

TTL_SECONDS = 0.4
PLANT_A, PLANT_B = "a.servicebus.windows.net/telemetry", "b.servicebus.windows.net/telemetry"


@dataclass
class Bench:
    client: RedisClient
    former: str
    present: str

    def leases(self, namespace: str, hub: str) -> RedisLeases:
        return RedisLeases(
            self.client,
            namespace=namespace,
            scope=hub,
            partition_ids=["0", "1"],
            ttl_seconds=TTL_SECONDS,
            monotonic=time.monotonic,
        )

    async def use(self, namespace: str, hub: str = PLANT_A) -> None:
        """Leaves what a pod leaves that owned partitions and was stopped in order."""
        leases = self.leases(namespace, hub)
        await leases.renew("pod", [])
        await leases.take("pod", "0")
        await leases.leave("pod")

    async def check(self, hub: str = PLANT_A) -> None:
        await check_former_namespace(
            self.client, former=self.former, present=self.present, hub=hub, live_seconds=TTL_SECONDS
        )


@pytest.fixture(params=["valkey", "cluster"])
async def bench(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> AsyncIterator[Bench]:
    is_cluster = request.param == "cluster"
    client = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    yield Bench(client, f"{namespace}old", f"{namespace}new")
    await client.aclose()


async def test_a_new_deployment_starts(bench: Bench) -> None:
    await bench.check()


async def test_claims_of_before_are_not_forgotten_silently(bench: Bench) -> None:
    await bench.use(bench.former)
    with pytest.raises(ConfigurationError) as caught:
        await bench.check()
    message = str(caught.value)
    assert message.startswith("DEDUP_NAMESPACE: ")
    assert message.endswith(f"Example: DEDUP_NAMESPACE={bench.former}")
    assert f"sets {bench.present}" in message
    assert "running" not in message


async def test_a_deployment_is_not_stopped_by_what_another_one_left(bench: Bench) -> None:
    await bench.use(bench.former, PLANT_B)
    await bench.check()


async def test_once_the_present_namespace_is_in_use_the_former_one_is_history(bench: Bench) -> None:
    await bench.use(bench.former)
    await bench.use(bench.present)
    await bench.check()


async def test_nobody_starts_beside_a_pod_that_runs_under_the_former_namespace(bench: Bench) -> None:
    """The upgrade was rolled back, and is tried again: the present namespace has been used meanwhile."""
    await bench.use(bench.present)
    await bench.leases(bench.former, PLANT_A).renew("old", [])
    with pytest.raises(ConfigurationError, match="where pods are running"):
        await bench.check()
    async with asyncio.timeout(60):  # a pod that was killed stays on the list, but not alive
        while True:
            try:
                await bench.check()
            except ConfigurationError:
                await asyncio.sleep(TTL_SECONDS / 4)
            else:
                break
