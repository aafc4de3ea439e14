"""Pods of one configuration work at a time, on a real Valkey and on a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from dedup_service.adapters.redis.calls import RedisClient, connect
from dedup_service.adapters.redis.leases import RedisLeases
from dedup_service.adapters.redis.unreadable import Report, log_unreadable
from dedup_service.core.leases import Lease, LeaseRecord

TTL_SECONDS = 0.5
RECORD = LeaseRecord(None, {}, 1)


@pytest.fixture(params=["valkey", "cluster"])
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RedisClient]:
    is_cluster = request.param == "cluster"
    made = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    yield made
    await made.aclose()


def leases_of(
    client: RedisClient, namespace: str, configuration: str, scope: str = "west", report: Report = log_unreadable
) -> RedisLeases:
    return RedisLeases(
        client,
        namespace=namespace,
        scope=scope,
        partition_ids=["0", "1"],
        ttl_seconds=TTL_SECONDS,
        monotonic=time.monotonic,
        configuration=configuration,
        report=report,
    )


async def taken(leases: RedisLeases, pod: str, partition: str = "0") -> Lease:
    """Once it may be taken."""
    async with asyncio.timeout(60):
        while (lease := await leases.take(pod, partition)) is None:
            await asyncio.sleep(0.01)
    return lease


async def test_a_pod_of_another_configuration_is_granted_nothing_of_any_hub(client: RedisClient, namespace: str) -> None:
    old = leases_of(client, namespace, "old")
    await taken(old, "a")
    for scope in ("west", "east"):
        new = leases_of(client, namespace, "new", scope)
        renewal = await new.renew("b", [])
        assert (renewal.must_wait, renewal.free, renewal.pods) == (True, [], [])
        assert await new.take("b", "1") is None
    renewal = await old.renew("c", [])
    assert (renewal.must_wait, renewal.free, renewal.pods) == (False, ["1"], ["c"])  # the one that waits has no share


async def test_no_lease_of_another_configuration_is_left_when_a_pod_is_granted_its_first(
    client: RedisClient, namespace: str
) -> None:
    old, new = leases_of(client, namespace, "old"), leases_of(client, namespace, "new")
    lease = await taken(old, "a")
    asked_at = time.monotonic()
    while time.monotonic() < asked_at + 2 * TTL_SECONDS:
        await old.renew("a", [lease])
        assert await new.take("b", "1") is None
        assert (await new.renew("b", [])).must_wait
    await taken(new, "b", "1")
    assert lease.valid_until <= time.monotonic()


async def test_leases_of_a_pod_that_others_did_not_wait_for_are_lost(client: RedisClient, namespace: str) -> None:
    old, new = leases_of(client, namespace, "old"), leases_of(client, namespace, "new")
    lease = await taken(old, "a")
    await taken(new, "b", "1")  # the first one was not renewed in time
    renewal = await old.renew("a", [lease])
    assert (renewal.must_wait, renewal.lost, lease.is_lost) == (True, ["0"], True)
    assert not await old.write(lease, RECORD)


async def test_pods_without_a_configuration_neither_wait_nor_keep_others_waiting(
    client: RedisClient, namespace: str
) -> None:
    await taken(leases_of(client, namespace, "any"), "a")
    observing = leases_of(client, namespace, "", "west/observe")
    await taken(observing, "b")
    assert not (await observing.renew("b", [])).must_wait


async def test_another_type_under_the_key_is_forgotten(client: RedisClient, namespace: str) -> None:
    await client.hset(f"{namespace}{{0}}configuration", "a", "b")
    leases = leases_of(client, namespace, "new")
    assert not (await leases.renew("a", [])).must_wait


async def test_a_configuration_that_would_be_at_work_for_ever_is_forgotten(client: RedisClient, namespace: str) -> None:
    await client.set(f"{namespace}{{0}}configuration", "nobody's")
    reported: list[str] = []
    leases = leases_of(client, namespace, "new", report=reported.append)
    assert not (await leases.renew("a", [])).must_wait
    assert reported == [f"{namespace}{{0}}configuration"]
