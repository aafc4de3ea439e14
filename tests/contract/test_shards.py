"""The number of shards changes: claims that were made with another one are not found, so that they are read back (R12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dedup_service.adapters.redis.calls import RedisClient, connect
from dedup_service.adapters.redis.claims import RedisClaims
from dedup_service.adapters.redis.leases import RedisLeases
from dedup_service.adapters.redis.marked import Generations
from dedup_service.adapters.redis.markers import RedisMarkers
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import HOME, claim_shards, key_digest
from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import content_hash
from dedup_service.core.leases import Lease
from dedup_service.core.markers import BEGINNING_MS, ReadBack
from dedup_service.errors import ForgottenError

LEASE_SECONDS = 0.5
PARTITIONS = ["0"]
TTL_MS = 60_000
SOURCES = [str(number) for number in range(40)]


@dataclass
class Pod:
    """One with this number of shards."""

    client: RedisClient
    namespace: str
    shards: int
    lease_seconds: float = LEASE_SECONDS
    generations: Generations = field(init=False)
    clock: float = 0.0

    def __post_init__(self) -> None:
        generations = self.generations = Generations(self.namespace, self.shards)
        common: dict[str, Any] = {"namespace": self.namespace, "configuration": f"{self.shards} shards"}
        self.markers = RedisMarkers(self.client, generations, rebuilds=True, lease_seconds=self.lease_seconds, **common)
        self.leases = RedisLeases(
            self.client,
            scope="hub",
            partition_ids=["0"],
            ttl_seconds=self.lease_seconds,
            monotonic=lambda: self.clock,
            generations=generations,
            **common,
        )
        self.claims = RedisClaims(self.client, namespace=self.namespace, shards=self.shards, generations=generations)

    async def read_back(self) -> None:
        """The clean stream is empty."""
        for marker in await self.markers.look():
            await self.markers.note(marker, "0", ReadBack(BEGINNING_MS, 0), PARTITIONS)
        await self.markers.look()

    async def works(self) -> Lease:
        await self.read_back()
        lease = await self.leases.take(str(self.shards), "0")
        assert lease is not None
        return lease

    async def claim(self, number: int = 1) -> list[bytes | None]:
        readings = [Reading(index, source, "1", [], content_hash(b"1")) for index, source in enumerate(SOURCES)]
        keys = [key_digest("g", source, "1") for source in SOURCES]
        origin = Origin(1, 0, number, 0)
        request = ClaimRequest("g", 0, origin, 1, TTL_MS, TTL_MS, readings, keys, frozenset(), is_timed=True)
        return await self.claims.claim([request], (1,))

    async def until_it_may_change_the_number(self) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.markers.look()
                except ForgottenError:
                    await asyncio.sleep(0.05)
                else:
                    return


def home_of(pod: Pod) -> bytes:
    return pod.generations.key(HOME)


@pytest.fixture(params=["valkey", "cluster"])
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RedisClient]:
    is_cluster = request.param == "cluster"
    client = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    yield client
    await client.aclose()


CHANGES = [(1, 4), (4, 1), (4, 16)]


@pytest.mark.parametrize(("before", "after"), CHANGES)
async def test_a_pod_with_another_number_waits_until_no_other_holds_leases(
    client: RedisClient, namespace: str, before: int, after: int
) -> None:
    old, new = Pod(client, namespace, before), Pod(client, namespace, after)
    lease = await old.works()
    with pytest.raises(ForgottenError):
        await new.markers.look()
    renewal = await new.leases.renew("new", [])
    assert renewal.must_wait, "what it waits for is told"
    assert await new.leases.take("new", "0") is None
    assert not (await old.leases.renew("old", [lease])).lost
    assert await old.claim() == [None] * len(SOURCES)


@pytest.mark.parametrize(("before", "after"), CHANGES)
async def test_a_change_is_the_same_as_if_redis_had_forgotten(
    client: RedisClient, namespace: str, before: int, after: int
) -> None:
    old, new = Pod(client, namespace, before), Pod(client, namespace, after)
    lease = await old.works()
    await old.claim()
    await new.until_it_may_change_the_number()
    markers = await new.markers.look()
    assert not any(marker.is_ready for marker in markers)
    assert [marker.shard for marker in markers if marker.holds_claims] == list(claim_shards(after))
    with pytest.raises(ForgottenError):
        await new.claim()
    assert (await old.leases.renew("old", [lease])).lost == ["0"]
    with pytest.raises(ForgottenError):
        await old.claim()


@pytest.mark.parametrize(("before", "after"), CHANGES)
async def test_claims_of_before_are_not_believed_when_the_number_changes_back(
    client: RedisClient, namespace: str, before: int, after: int
) -> None:
    first, second = Pod(client, namespace, before), Pod(client, namespace, after)
    await first.works()
    assert await first.claim() == [None] * len(SOURCES)
    await second.until_it_may_change_the_number()
    await second.works()
    for again in (first, Pod(client, namespace, before)):
        await again.until_it_may_change_the_number()
        assert not any(marker.is_ready for marker in await again.markers.look())
        with pytest.raises(ForgottenError):
            await again.claim()


async def test_whoever_comes_after_a_pod_that_died_during_the_change_ends_the_markers(
    client: RedisClient, namespace: str
) -> None:
    pod, following = Pod(client, namespace, 4), Pod(client, namespace, 4)
    await pod.works()
    await client.hset(home_of(pod), "ending", " 2 4")
    assert not any(marker.is_ready for marker in await following.markers.look() if marker.holds_claims)
    with pytest.raises(ForgottenError):
        await pod.claim()
    await following.read_back()
    assert await following.claim() == [None] * len(SOURCES)


async def test_the_first_of_two_that_start_together_decides(client: RedisClient, namespace: str) -> None:
    """The second one comes before the first one may be gone."""
    first, second = (Pod(client, namespace, shards, lease_seconds=600) for shards in (4, 8))
    await first.markers.look()
    with pytest.raises(ForgottenError):
        await second.markers.look()


@pytest.mark.parametrize("damage", [b"", b"x", b"-1", b"9" * 400, b"\xff 3"])
async def test_a_number_that_nobody_wrote_counts_as_another(client: RedisClient, namespace: str, damage: bytes) -> None:
    pod = Pod(client, namespace, 4)
    await pod.works()
    await client.hset(home_of(pod), "shards", damage)
    assert not any(marker.is_ready for marker in await pod.markers.look())
    await pod.read_back()
    assert await pod.claim() == [None] * len(SOURCES)
