"""Publishing pods go before observing ones, on a real Valkey and on a cluster."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from dedup_service.adapters.redis.calls import RedisClient, connect
from dedup_service.adapters.redis.precedence import RedisPrecedence


@pytest.fixture(params=["valkey", "cluster"])
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RedisClient]:
    is_cluster = request.param == "cluster"
    made = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    yield made
    await made.aclose()


async def test_observing_pods_wait_while_others_publish_what_they_read(client: RedisClient, namespace: str) -> None:
    def pod(group: str, *, publishes: bool) -> RedisPrecedence:
        reads = f"{namespace}/hub/{group}"
        return RedisPrecedence(client, reads=reads, publishes=publishes, ttl_seconds=0.3, now_ms=lambda: next(times))

    times = itertools.count(1000)
    observing, publishing = pod("dedup", publishes=False), pod("dedup", publishes=True)
    assert await publishing.observed_until_ms() is None
    assert not await observing.must_wait()
    assert not await publishing.must_wait()
    assert await observing.must_wait()
    assert await publishing.observed_until_ms() == 1000  # while it waits, it observes nothing
    assert not await publishing.must_wait()
    assert not await pod("another", publishes=False).must_wait()
    async with asyncio.timeout(60):
        while await observing.must_wait():
            await asyncio.sleep(0.05)
