"""The laws of leases: in memory, on a real Valkey and on a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from dedup_service.adapters.redis.calls import connect
from dedup_service.adapters.redis.leases import RedisLeases
from dedup_service.core.leases import Lease, LeaseRecord, Presence
from dedup_service.core.progress import Position
from dedup_service.errors import LeaseLostError, UnavailableError
from dedup_service.ports.ownership import Leases
from tests.doubles.memory import MemoryClock, MemoryLeases

TTL_SECONDS = 0.4
PARTITIONS = ["0", "1", "2"]
RECORD = LeaseRecord(Position(7, "70", 700), {"0": 5, "1": -1}, 42)


@dataclass
class Bench:
    leases: Leases
    sleep: Callable[[float], Awaitable[None]]
    now: Callable[[], float]


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def bench(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> AsyncIterator[Bench]:
    if request.param == "memory":
        clock = MemoryClock()
        yield Bench(MemoryLeases(clock, PARTITIONS, TTL_SECONDS), clock.sleep, clock.monotonic)
        return
    is_cluster = request.param == "cluster"
    client = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    leases = RedisLeases(
        client,
        namespace=namespace,
        scope="hub",
        partition_ids=PARTITIONS,
        ttl_seconds=TTL_SECONDS,
        monotonic=time.monotonic,
    )
    yield Bench(leases, asyncio.sleep, time.monotonic)
    await client.aclose()


async def taken(bench: Bench, pod: str = "a", partition: str = "0") -> Lease:
    lease = await bench.leases.take(pod, partition)
    assert lease is not None
    return lease


async def test_a_free_lease_goes_to_one_pod(bench: Bench) -> None:
    await taken(bench)
    assert await bench.leases.take("b", "0") is None
    assert (await bench.leases.renew("b", [])).free == ["1", "2"]


async def test_the_local_deadline_is_never_behind_the_stored_one(bench: Bench) -> None:
    before = bench.now()
    lease = await taken(bench)
    assert before <= lease.valid_until - TTL_SECONDS <= bench.now()
    lease.require(before, TTL_SECONDS / 2)
    with pytest.raises(UnavailableError):
        lease.require(bench.now() + TTL_SECONDS, 0)


async def test_a_renewed_lease_outlives_its_first_deadline(bench: Bench) -> None:
    lease = await taken(bench)
    for _ in range(4):
        await bench.sleep(TTL_SECONDS / 2)
        assert (await bench.leases.renew("a", [lease])).lost == []
    assert await bench.leases.take("b", "0") is None


async def test_a_lease_that_was_not_renewed_is_free_with_its_record_and_a_higher_epoch(bench: Bench) -> None:
    lease = await taken(bench)
    lease.record = RECORD
    await bench.leases.renew("a", [lease])
    assert lease.written == RECORD
    await bench.sleep(TTL_SECONDS * 1.2)
    other = await taken(bench, "b")
    assert other.epoch > lease.epoch
    assert other.inherited == RECORD


async def test_the_former_owner_loses_its_lease_and_can_no_longer_write(bench: Bench) -> None:
    lease = await taken(bench)
    await bench.sleep(TTL_SECONDS * 1.2)
    other = await taken(bench, "b")
    lease.record = RECORD
    renewal = await bench.leases.renew("a", [lease])
    assert renewal.lost == ["0"]
    with pytest.raises(LeaseLostError):
        lease.require(bench.now(), 0)
    assert not await bench.leases.write(lease, RECORD)
    assert not await bench.leases.write(lease, RECORD, release=True)
    assert (await bench.leases.renew("b", [other])).lost == []
    assert other.inherited is None


async def test_an_expired_lease_that_nobody_took_is_renewed(bench: Bench) -> None:
    lease = await taken(bench)
    await bench.sleep(TTL_SECONDS * 1.2)
    assert (await bench.leases.renew("a", [lease])).lost == []
    lease.require(bench.now(), TTL_SECONDS / 2)


async def test_a_released_lease_is_free_at_once_and_keeps_its_record(bench: Bench) -> None:
    lease = await taken(bench)
    assert await bench.leases.write(lease, RECORD, release=True)
    with pytest.raises(LeaseLostError):
        lease.require(bench.now(), 0)
    assert (await taken(bench, "b")).inherited == RECORD


async def test_pods_see_each_other_until_they_leave_or_fall_silent(bench: Bench) -> None:
    await bench.leases.renew("a", [])
    assert sorted((await bench.leases.renew("b", [])).pods) == ["a", "b"]
    await bench.leases.leave("a")
    assert (await bench.leases.renew("b", [])).pods == ["b"]
    await bench.leases.renew("a", [])
    await bench.sleep(TTL_SECONDS * 1.2)
    assert (await bench.leases.renew("b", [])).pods == ["b"]


async def test_one_pod_samples_in_each_interval_and_all_see_the_sample(bench: Bench) -> None:
    turns = [await bench.leases.may_sample(0.2) for _ in range(3)]
    assert turns == [True, False, False]
    assert (await bench.leases.renew("a", [])).sample is None
    assert await bench.leases.recent_sample() is None
    await bench.leases.save_sample({"0": 5, "1": -1}, recent_seconds=0.2)
    assert (await bench.leases.renew("b", [])).sample == {"0": 5, "1": -1}
    assert await bench.leases.recent_sample() == {"0": 5, "1": -1}
    await bench.sleep(0.25)
    assert await bench.leases.recent_sample() is None
    assert await bench.leases.may_sample(0.2)


async def test_the_next_owner_learns_how_far_the_last_one_may_have_begun(bench: Bench) -> None:
    lease = await taken(bench)
    assert lease.inherited_begun is None
    lease.record, lease.begun = RECORD, 100
    assert await bench.leases.write(lease, RECORD)
    assert lease.begun_written == 100
    lease.begun = 250
    await bench.leases.renew("a", [lease])
    assert lease.begun_written == 250
    lease.begun, lease.begun_written = 90, -1  # as in a call that was overtaken
    assert await bench.leases.write(lease, RECORD, release=True)
    following = await taken(bench, "b")
    assert following.inherited_begun == 250
    assert await bench.leases.write(following, RECORD, release=True)
    assert (await taken(bench, "c")).inherited_begun is None  # the last one has not said


# --- what only a real Redis can show


async def test_leases_that_redis_forgot_are_lost_and_get_higher_epochs(redis_url: str, namespace: str) -> None:
    client = connect(redis_url, 5.0)
    options = {"namespace": namespace, "scope": "hub", "partition_ids": PARTITIONS, "ttl_seconds": 5.0}
    leases = RedisLeases(client, monotonic=time.monotonic, **options)  # type: ignore[arg-type]  # options of several types
    lease = await leases.take("a", "0")
    assert lease is not None
    async with Redis.from_url(redis_url) as other:
        async for key in other.scan_iter(match=f"{namespace}*"):
            await other.delete(key)
    assert (await leases.renew("a", [lease])).lost == ["0"]
    await asyncio.sleep(0.002)
    again = await leases.take("b", "0")
    assert again is not None
    assert again.epoch > lease.epoch
    await client.aclose()


async def test_the_partitions_of_the_first_call_are_remembered_for_each_incarnation(bench: Bench) -> None:
    assert await bench.leases.known_at_first(1, ["0", "1"]) == {"0", "1"}
    assert await bench.leases.known_at_first(1, PARTITIONS) == {"0", "1"}
    assert await bench.leases.known_at_first(2, PARTITIONS) == set(PARTITIONS)


async def test_a_partition_that_was_added_is_free_for_one_pod(bench: Bench) -> None:
    bench.leases.add_partitions(["7"])
    assert (await bench.leases.renew("a", [])).free == [*PARTITIONS, "7"]
    lease = await taken(bench, partition="7")
    assert (await bench.leases.renew("a", [lease])).free == PARTITIONS


async def test_a_pod_that_takes_no_part_is_not_counted_but_keeps_its_leases(bench: Bench) -> None:
    lease = await taken(bench)
    await bench.leases.renew("b", [])
    assert (await bench.leases.renew("a", [lease], Presence(takes_part=False))).pods == ["b"]
    assert await bench.leases.take("b", "0") is None
    assert sorted((await bench.leases.renew("a", [lease])).pods) == ["a", "b"]


async def test_pods_hear_when_any_other_made_progress(bench: Bench) -> None:
    assert (await bench.leases.renew("a", [], Presence(progressed_ago=1.0))).others_progressed_ago == float("inf")
    heard = (await bench.leases.renew("b", [], Presence(progressed_ago=30.0))).others_progressed_ago
    assert 1.0 <= heard < 30.0
    assert (await bench.leases.renew("a", [])).others_progressed_ago >= 30.0
    assert (await bench.leases.renew("c", [])).others_progressed_ago < 30.0


async def test_work_began_at_the_first_call(bench: Bench) -> None:
    assert await bench.leases.began_ms(7_000) == 7_000
    assert await bench.leases.began_ms(9_000) == 7_000
