"""The timeline is replaced by one pod at a time, in memory as in Redis, and what can't be read of it is as good as none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from dedup_service.adapters.redis.calls import connect
from dedup_service.adapters.redis.timeline import RedisTimelineStore
from dedup_service.core.timeline import Sight, Timeline, observed
from dedup_service.ports.pods import StoredTimeline, TimelineStore
from tests.doubles.timeline import MemoryTimelineStore

FIRST = observed(Timeline(), Sight(1, pods=["a"]))
SECOND = observed(FIRST, Sight(2, pods=["a", "b"]))


@pytest.fixture(params=["memory", "redis", "cluster"])
async def store(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> AsyncIterator[TimelineStore]:
    if request.param == "memory":
        yield MemoryTimelineStore()
        return
    is_cluster = request.param == "cluster"
    client = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    yield RedisTimelineStore(client, namespace=namespace)
    await client.aclose()


async def test_where_nothing_was_written_there_is_none(store: TimelineStore) -> None:
    assert await store.load() == StoredTimeline(b"", None)


async def test_what_was_written_is_read_by_all(store: TimelineStore) -> None:
    written = await store.replace(await store.load(), FIRST)
    assert written is not None
    assert written.timeline == FIRST
    assert await store.load() == written
    assert await store.load(written) is written


async def test_who_has_not_read_the_latest_replaces_nothing(store: TimelineStore) -> None:
    before = await store.load()
    first = await store.replace(before, FIRST)
    assert first is not None
    assert await store.replace(before, SECOND) is None
    assert await store.load(before) == first
    second = await store.replace(first, SECOND)
    assert second is not None
    assert second.version != first.version
    assert await store.replace(first, FIRST) is None
    assert (await store.load(first)).timeline == SECOND


async def test_of_many_at_once_one_replaces_it(store: TimelineStore) -> None:
    before = await store.load()
    replaced = await asyncio.gather(*(store.replace(before, FIRST) for _ in range(10)))
    assert sum(item is not None for item in replaced) == 1


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\x00", b"null", b"[1]", b'{"entries":7}'])
async def test_what_can_not_be_read_is_reported_and_replaced(redis_url: str, namespace: str, content: bytes) -> None:
    client, reported = connect(redis_url, 5.0), list[str]()
    store = RedisTimelineStore(client, namespace=namespace, report=reported.append)
    key = f"{namespace}{{0}}board:timeline"
    async with Redis.from_url(redis_url) as redis:
        await redis.hset(key, mapping={"version": b"7", "content": content})
    found = await store.load()
    assert (found.version, found.timeline, reported) == (b"7", None, [key])
    assert await store.replace(found, FIRST) == await store.load()
    await client.aclose()


async def test_a_key_of_another_type_is_reported_and_replaced(redis_url: str, namespace: str) -> None:
    client, reported = connect(redis_url, 5.0), list[str]()
    store = RedisTimelineStore(client, namespace=namespace, report=reported.append)
    key = f"{namespace}{{0}}board:timeline"
    async with Redis.from_url(redis_url) as redis:
        await redis.rpush(key, "garbage")
    found = await store.load()
    assert found == StoredTimeline(b"", None)
    written = await store.replace(found, FIRST)
    assert written is not None
    assert await store.load(written) is written
    assert set(reported) == {key}
    await client.aclose()
