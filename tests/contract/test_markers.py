"""The laws of markers, and of claims and leases behind them: in memory, on a real Valkey and on a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import pytest
from redis.asyncio import Redis

from dedup_service.adapters.redis.calls import RedisClient, connect
from dedup_service.adapters.redis.claims import RedisClaims
from dedup_service.adapters.redis.leases import RedisLeases
from dedup_service.adapters.redis.marked import Generations
from dedup_service.adapters.redis.markers import RedisMarkers
from dedup_service.adapters.redis.shards import shard_prefix
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import HOME, all_shards, claim_shards, key_digest, restored_claims, shard_of, unpack
from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import content_hash
from dedup_service.core.leases import Lease, still_held
from dedup_service.core.markers import BEGINNING_MS, Marker, ReadBack, RestoredEvent
from dedup_service.errors import ForgottenError
from dedup_service.ports.claims import Markers
from tests.doubles.markers import FORGETFUL, MemoryMarkers, MemoryServer
from tests.doubles.memory import MemoryClaims, MemoryClock, MemoryLeases

PARTITIONS = ["0", "1"]
TTL_MS = 60_000
CONTENT = content_hash(b"1")
WHOLE = ReadBack(BEGINNING_MS, 0)


def source_in(shard: int, shards: int) -> str:
    return next(name for name in map(str, range(1000)) if shard_of(name, shards) == shard)


def request_of(source: str, number: int, replica: int = 0) -> ClaimRequest:
    reading = Reading(0, source, "1", [], CONTENT)
    event, keys = Origin(1, replica, number, 0), [key_digest("g", source, "1")]
    return ClaimRequest("g", replica, event, 1, TTL_MS, TTL_MS, [reading], keys, frozenset(), is_timed=True)


@dataclass
class Pod:
    """What one pod does with Redis."""

    markers: Markers
    claim: Callable[[ClaimRequest], Awaitable[bytes | None]]
    confirm: Callable[[ClaimRequest], Awaitable[int]]
    take: Callable[[], Awaitable[Lease | None]]
    renew: Callable[[Lease], Awaitable[Sequence[str]]]
    """Returns the partitions whose leases are lost."""

    async def ready(self) -> list[Marker]:
        """All shards are read back."""
        for marker in await self.markers.look():
            for partition in PARTITIONS:
                await self.markers.note(marker, partition, WHOLE, PARTITIONS)
        return await self.markers.look()

    async def restore(self, source: str, marker: Marker, *, number: int = 1, replica: int = 0, ttl_ms: int = TTL_MS) -> int:
        claims = restored_claims(Origin(1, 0, number, 0), [0], [CONTENT], replica, 1)
        ends_ms = marker.now_ms + ttl_ms
        event = RestoredEvent(ends_ms, ends_ms, [source], [key_digest("g", source, "1")], claims)
        return await self.markers.restore([event], [marker])


@dataclass
class Bench:
    shards: int
    make_pod: Callable[[], Pod]
    write: Callable[[int, str, Any], Awaitable[object]]
    """Writes one field of a shard's marker."""
    forget: Callable[[int], Awaitable[object]]
    """A shard's marker is gone."""
    first: int = field(init=False)
    last: int = field(init=False)
    """The first and the last shard that hold claims."""
    sources: dict[int, str] = field(init=False)
    """One for each shard that holds claims."""

    def __post_init__(self) -> None:
        own = claim_shards(self.shards)
        self.first, self.last = own[0], own[-1]
        self.sources = {shard: source_in(shard, self.shards) for shard in own}


def memory_bench() -> Bench:
    clock = MemoryClock()
    claims, leases = MemoryClaims(clock), MemoryLeases(clock, ["0"])
    server = MemoryServer(clock, claims)

    def pod() -> Pod:
        markers = MemoryMarkers(server)

        async def claim(request: ClaimRequest) -> bytes | None:
            markers.check(markers.known)
            return (await claims.claim([request], (1,)))[0]

        async def confirm(request: ClaimRequest) -> int:
            markers.check(markers.known)
            return await claims.confirm([request], TTL_MS)

        async def take() -> Lease | None:
            try:
                markers.check(markers.known, is_fenced=True)
            except ForgottenError:
                return None
            lease = await leases.take("a", "0", markers.tenure[0])
            if lease is not None:
                lease.tenure = markers.tenure
            return lease

        async def renew(lease: Lease) -> Sequence[str]:
            if not still_held([lease], markers.tenure):
                return ["0"]
            try:
                markers.check(markers.known, is_fenced=True)
            except ForgottenError:
                lease.is_lost = True
                return ["0"]
            return (await leases.renew("a", [lease])).lost

        return Pod(markers, claim, confirm, take, renew)

    async def write(_: int, name: str, value: Any) -> None:
        assert server.marker is not None
        setattr(server.marker, name, FORGETFUL if name == "server" else value)

    async def forget(_: int) -> None:
        server.marker = None
        clock.ms += 1

    return Bench(1, pod, write, forget)


def redis_bench(client: RedisClient, namespace: str, shards: int) -> Bench:
    def pod(own: RedisClient = client) -> Pod:
        generations = Generations(namespace, shards)
        options: dict[str, Any] = {"namespace": namespace, "generations": generations}
        claims = RedisClaims(own, shards=shards, **options)
        leases = RedisLeases(own, scope="h", partition_ids=["0"], ttl_seconds=5.0, monotonic=time.monotonic, **options)
        markers = RedisMarkers(own, generations, namespace=namespace, rebuilds=True)

        async def claim(request: ClaimRequest) -> bytes | None:
            return (await claims.claim([request], (1,)))[0]

        async def renew(lease: Lease) -> Sequence[str]:
            return (await leases.renew("a", [lease])).lost

        return Pod(markers, claim, lambda request: claims.confirm([request], TTL_MS), lambda: leases.take("a", "0"), renew)

    def key(shard: int) -> bytes:
        return Generations(namespace, shards).key(shard)

    commands: Any = client
    return Bench(
        shards,
        pod,
        lambda shard, name, value: commands.hset(key(shard), name, value),
        lambda shard: commands.delete(key(shard)),
    )


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def bench(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield memory_bench()
        return
    is_cluster = request.param == "cluster"
    client = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    yield redis_bench(client, namespace, 4 if is_cluster else 1)
    await client.aclose()


@pytest.fixture
async def one_server(redis_url: str, namespace: str) -> AsyncIterator[tuple[Bench, Redis]]:
    """Two shards on one server, for what memory can't show."""
    client = connect(redis_url, 5.0)
    assert isinstance(client, Redis)
    yield redis_bench(client, namespace, 2), client
    await client.aclose()


async def test_a_shard_without_a_marker_gets_one_that_is_not_ready(bench: Bench) -> None:
    pod = bench.make_pod()
    assert not pod.markers.are_ready
    with pytest.raises(ForgottenError):
        await pod.claim(request_of(bench.sources[bench.last], 1))
    markers = await pod.markers.look()
    assert [marker.shard for marker in markers] == list(all_shards(bench.shards))
    assert not any(marker.is_ready or marker.read_back for marker in markers)
    assert not pod.markers.are_ready
    again = await bench.make_pod().markers.look()
    assert [marker.generation for marker in again] == [marker.generation for marker in markers]
    with pytest.raises(ForgottenError):
        await pod.claim(request_of(bench.sources[bench.last], 1))
    assert await pod.take() is None


async def test_a_shard_is_ready_once_all_partitions_are_noted(bench: Bench) -> None:
    pod, other = bench.make_pod(), bench.make_pod()
    for marker in await pod.markers.look():
        await pod.markers.note(marker, "0", ReadBack(500, 7), PARTITIONS)
    assert not any(marker.is_ready for marker in await pod.markers.look())
    for marker in await other.markers.look():
        await other.markers.note(marker, "1", ReadBack(400, -1), PARTITIONS)
    markers = await pod.markers.look()
    assert all(marker.is_ready for marker in markers)
    assert all(marker.read_back == {"0": ReadBack(500, 7), "1": ReadBack(400, -1)} for marker in markers)
    assert pod.markers.are_ready
    assert await pod.claim(request_of(bench.sources[bench.last], 1)) is None
    assert await pod.take() is not None


async def test_what_is_noted_never_goes_back(bench: Bench) -> None:
    pod = bench.make_pod()
    (marker, *_) = await pod.markers.look()
    await pod.markers.note(marker, "0", ReadBack(500, 7), PARTITIONS)
    await pod.markers.note(marker, "0", ReadBack(900, 9), PARTITIONS)
    assert (await pod.markers.look())[0].read_back == {"0": ReadBack(500, 7)}
    await pod.markers.note(marker, "0", ReadBack(100, 2), PARTITIONS)
    assert (await pod.markers.look())[0].read_back == {"0": ReadBack(100, 2)}


@pytest.mark.parametrize("how", ["gone", "another server"])
async def test_a_refused_call_has_no_effect_and_a_look_begins_a_generation(bench: Bench, how: str) -> None:
    pod, shard = bench.make_pod(), bench.last
    before = await pod.ready()
    request = request_of(bench.sources[shard], 1)
    await (bench.forget(shard) if how == "gone" else bench.write(shard, "server", "0" * 40))
    with pytest.raises(ForgottenError):
        await pod.claim(request)
    assert not pod.markers.are_ready
    with pytest.raises(ForgottenError):
        await pod.confirm(request)
    after = await pod.markers.look()
    assert after[shard].generation > before[shard].generation
    assert not after[shard].is_ready
    assert after[:shard] == [replace(marker, now_ms=now.now_ms) for marker, now in zip(before[:shard], after, strict=False)]
    await pod.ready()
    assert await pod.claim(request) is None


async def test_a_pod_of_an_earlier_generation_is_refused(bench: Bench) -> None:
    pod, late = bench.make_pod(), bench.make_pod()
    old = (await pod.ready())[bench.first]
    await late.markers.look()
    assert await late.take() is not None
    await bench.forget(bench.first)
    new = (await pod.ready())[bench.first]
    for call in (
        lambda: late.claim(request_of(bench.sources[bench.first], 1)),
        lambda: late.restore(bench.sources[bench.first], old),
        lambda: late.markers.note(old, "0", ReadBack(5, 5), PARTITIONS),
        lambda: pod.restore(bench.sources[bench.first], old),
        lambda: pod.markers.note(old, "0", ReadBack(5, 5), PARTITIONS),
    ):
        with pytest.raises(ForgottenError):
            await call()
    assert (await pod.markers.look())[0].read_back == new.read_back
    assert await pod.claim(request_of(bench.sources[bench.first], 1)) is None


async def test_a_counter_that_went_back_is_a_server_that_forgot_and_all_pods_notice(bench: Bench) -> None:
    pod, other, shard = bench.make_pod(), bench.make_pod(), bench.last
    await pod.ready()
    await other.markers.look()
    for number in range(5):
        await pod.claim(request_of(bench.sources[shard], number))
    await bench.write(shard, "calls", 1)
    with pytest.raises(ForgottenError):
        await pod.claim(request_of(bench.sources[shard], 9))
    with pytest.raises(ForgottenError):
        await other.claim(request_of(bench.sources[shard], 9, 1))
    assert not (await other.markers.look())[shard].is_ready


async def test_an_earlier_generation_than_was_seen_does_not_go_on(bench: Bench) -> None:
    """A server whose name does not show it came back with the marker of before."""
    pod = bench.make_pod()
    (seen, *_) = await pod.ready()
    await bench.write(0, "generation", seen.generation - 1)
    (following, *_) = await pod.markers.look()
    assert following.generation > seen.generation
    assert not following.is_ready
    (stranger, *_) = await bench.make_pod().markers.look()
    assert stranger.generation == following.generation


async def test_a_distrusted_server_begins_a_generation(bench: Bench) -> None:
    pod, other = bench.make_pod(), bench.make_pod()
    (before, *_) = await pod.ready()
    await other.markers.look()
    lease = await other.take()
    assert lease is not None
    await pod.markers.distrust()
    await pod.markers.distrust()
    assert await other.renew(lease) == ["0"]
    assert (await other.markers.look())[0].generation > before.generation


async def test_leases_end_where_their_own_shard_forgot(bench: Bench) -> None:
    pod = bench.make_pod()
    await pod.ready()
    lease = await pod.take()
    assert lease is not None
    assert await pod.renew(lease) == []
    await bench.forget(0)
    assert await pod.renew(lease) == ["0"]
    assert lease.is_lost
    assert await pod.take() is None


async def test_an_unconfirmed_claim_of_before_the_server_forgot_blocks_nobody(bench: Bench) -> None:
    pod = bench.make_pod()
    await pod.ready()
    owner, other = (request_of(bench.sources[bench.first], number, replica) for number, replica in ((1, 0), (9, 1)))
    assert await pod.claim(owner) is None
    assert await pod.claim(other) is not None
    await pod.markers.distrust()
    await pod.ready()
    assert await pod.claim(other) is None
    held = await pod.claim(owner)
    assert held is not None
    assert unpack(held).origin == other.event
    assert unpack(held).replicas == 0b11


async def test_who_claimed_before_the_server_forgot_recognises_the_claim_which_then_blocks_others(bench: Bench) -> None:
    pod = bench.make_pod()
    await pod.ready()
    owner, other = (request_of(bench.sources[bench.first], number, replica) for number, replica in ((1, 0), (9, 1)))
    assert await pod.claim(owner) is None
    await pod.markers.distrust()
    await pod.ready()
    for copy in (owner, other):
        held = await pod.claim(copy)
        assert held is not None
        assert unpack(held).origin == owner.event
        assert not unpack(held).confirmed


async def test_a_restored_claim_is_new_or_replaces_what_others_claimed(bench: Bench) -> None:
    pod, shard = bench.make_pod(), bench.last
    source, marker = bench.sources[shard], (await pod.ready())[shard]
    assert await pod.restore(source, marker, number=1) == 1
    found = await pod.claim(request_of(source, 5, 1))
    assert found is not None
    assert unpack(found).origin == Origin(1, 0, 1, 0)
    assert unpack(found).confirmed
    assert await pod.restore(source, marker, number=2, ttl_ms=2 * TTL_MS) == 1  # published by another copy, and ends later
    found = await pod.claim(request_of(source, 6, 1))
    assert found is not None
    assert unpack(found).origin == Origin(1, 0, 2, 0)


async def test_a_claim_that_was_never_published_is_replaced_whenever_it_ends(bench: Bench) -> None:
    pod, shard = bench.make_pod(), bench.last
    source, marker = bench.sources[shard], (await pod.ready())[shard]
    assert await pod.claim(request_of(source, 5)) is None
    await pod.restore(source, marker, number=1, ttl_ms=TTL_MS // 2)
    found = await pod.claim(request_of(source, 6, 1))
    assert found is not None
    assert unpack(found).origin == Origin(1, 0, 1, 0)


async def test_of_two_published_copies_the_claim_that_ends_later_stays(bench: Bench) -> None:
    """One was published when the other's window had ended; the older one is read back last."""
    pod, shard = bench.make_pod(), bench.last
    source, marker = bench.sources[shard], (await pod.ready())[shard]
    await pod.restore(source, marker, number=2)
    await pod.restore(source, marker, number=1, ttl_ms=TTL_MS // 2)
    found = await pod.claim(request_of(source, 5, 1))
    assert found is not None
    assert unpack(found).origin == Origin(1, 0, 2, 0)


async def test_a_claim_of_the_same_origin_keeps_who_delivered_and_is_published(bench: Bench) -> None:
    pod, shard = bench.make_pod(), bench.last
    source, marker = bench.sources[shard], (await pod.ready())[shard]
    assert await pod.claim(request_of(source, 1)) is None
    await pod.claim(request_of(source, 2, 1))
    await pod.restore(source, marker, number=1)
    await pod.restore(source, marker, number=1)
    found = await pod.claim(request_of(source, 3, 2))
    assert found is not None
    assert unpack(found).confirmed
    assert unpack(found).replicas == 0b11


async def test_claims_that_have_ended_are_left_out(bench: Bench) -> None:
    pod, shard = bench.make_pod(), bench.last
    source, marker = bench.sources[shard], (await pod.ready())[shard]
    assert await pod.restore(source, marker, ttl_ms=-1) == 0
    assert await pod.claim(request_of(source, 5)) is None


async def test_only_the_shards_of_the_markers_are_restored(bench: Bench) -> None:
    pod = bench.make_pod()
    marker = (await pod.ready())[bench.first]
    for source in list(bench.sources.values())[1:]:
        assert await pod.restore(source, marker) == 0
        assert await pod.claim(request_of(source, 5)) is None
    assert await pod.restore(bench.sources[bench.first], marker) == 1


async def test_one_pod_at_a_time_reads_a_partition(bench: Bench) -> None:
    pod = bench.make_pod()
    assert await pod.markers.may_read("a", "0", 5.0)
    assert await pod.markers.may_read("a", "0", 5.0)
    assert not await pod.markers.may_read("b", "0", 5.0)
    assert await pod.markers.may_read("b", "1", 5.0)


# --- what only a real Redis can show


async def test_the_fence_of_another_shard_ends_all_leases_once(one_server: tuple[Bench, Redis]) -> None:
    bench, _ = one_server
    pod, other = bench.make_pod(), bench.make_pod()
    await pod.ready()
    await other.markers.look()
    lease = await other.take()
    assert lease is not None
    await bench.forget(1)
    assert await other.renew(lease) == []
    marker = (await pod.markers.look())[1]
    ago = await pod.markers.fence(marker)
    assert 0 <= ago < 5000
    assert await other.renew(lease) == ["0"]
    await asyncio.sleep(0.01)
    assert await other.markers.fence(marker) > ago
    await other.ready()
    again = await other.take()
    assert again is None  # it is another pod's until its deadline
    assert await other.claim(request_of(bench.sources[1], 1)) is None


async def test_a_lease_of_before_the_fence_is_lost_also_for_a_pod_that_saw_the_fence_first(
    one_server: tuple[Bench, Redis],
) -> None:
    bench, _ = one_server
    pod = bench.make_pod()
    await pod.ready()
    lease = await pod.take()
    assert lease is not None
    await bench.forget(1)
    marker = (await pod.markers.look())[1]
    await pod.markers.fence(marker)
    await pod.ready()  # it knows the new fence now
    assert await pod.renew(lease) == ["0"]
    assert lease.is_lost


async def test_a_lease_of_before_its_shard_forgot_is_lost_also_where_redis_has_it_again(bench: Bench) -> None:
    """As when a replica brings it back that does not know who has claimed since."""
    pod = bench.make_pod()
    await pod.ready()
    lease = await pod.take()
    assert lease is not None
    await bench.forget(0)
    await pod.ready()
    assert await pod.renew(lease) == ["0"]


async def test_without_info_only_the_counter_shows_another_server(
    redis_url: str, namespace: str, one_server: tuple[Bench, Redis]
) -> None:
    admin: Any = one_server[1]  # redis-py has no types for these commands
    user = f"u{namespace}"
    await admin.execute_command("ACL", "SETUSER", user, "on", "nopass", "~*", "&*", "+@all", "-info")
    client = connect(redis_url.replace("//", f"//{user}:x@"), 5.0)
    try:
        bench = redis_bench(client, namespace, 1)
        pod = bench.make_pod()
        await pod.ready()
        key = Generations(namespace, 1).key(0)
        assert await admin.hget(key, "server") == b""
        for number in range(4):
            await pod.claim(request_of(bench.sources[bench.first], number))
        assert (await pod.markers.look())[0].is_ready
        await bench.write(0, "calls", 1)
        with pytest.raises(ForgottenError):
            await pod.claim(request_of(bench.sources[bench.first], 9))
        assert not (await pod.markers.look())[0].is_ready
    finally:
        await client.aclose()
        await admin.execute_command("ACL", "DELUSER", user)


HOSTILE = [
    b"",
    b"garbage",
    b"\xff\x00",
    b"nan",
    b"-1",
    b"1e3",
    b"0x10",
    b"5.0",
    b"05",
    b" 5",
    b"9" * 5000,
    b"9007199254740991",
]
FIELDS = ["generation", "server", "since", "fence", "term", "ready", "calls", "back:0", b"back:\xff", "fenced:1", "?"]


@pytest.mark.parametrize("name", FIELDS)
async def test_hostile_fields_of_a_marker_count_as_forgotten(one_server: tuple[Bench, Redis], name: str) -> None:
    bench, _ = one_server
    pod = bench.make_pod()
    await pod.ready()
    for value, shard in product(HOSTILE, (HOME, bench.first)):
        await bench.write(shard, name, value)
        await revives(pod, bench)


@pytest.mark.parametrize("name", ["generation", "server", "since", "fence", "ready", "calls", "back:0"])
async def test_missing_fields_of_a_marker_count_as_forgotten(
    one_server: tuple[Bench, Redis], namespace: str, name: str
) -> None:
    bench, client = one_server
    pod = bench.make_pod()
    await pod.ready()
    commands: Any = client
    for shard in (HOME, bench.first):
        await commands.hdel(Generations(namespace, 2).key(shard), name)
        await revives(pod, bench)


async def test_a_marker_of_another_type_counts_as_forgotten(one_server: tuple[Bench, Redis], namespace: str) -> None:
    bench, client = one_server
    pod, key, commands = bench.make_pod(), Generations(namespace, 2).key(bench.first), client
    await pod.ready()
    for write in (lambda: commands.set(key, b"x"), lambda: commands.sadd(key, b"x"), lambda: commands.rpush(key, b"x")):
        await commands.delete(key)
        await write()
        with pytest.raises(ForgottenError):
            await pod.claim(request_of(bench.sources[bench.first], 1))
        await revives(pod, bench)


async def revives(pod: Pod, bench: Bench) -> None:
    """Within a few rounds of what a rebuild does, claims and leases work again."""
    for _ in range(3):
        for marker in await pod.markers.look():
            assert await pod.markers.fence(marker) >= 0
            try:
                if marker.holds_claims:
                    await pod.restore(bench.sources[marker.shard], marker)
                await pod.markers.note(marker, "0", WHOLE, PARTITIONS)
                await pod.markers.note(marker, "1", WHOLE, PARTITIONS)
            except ForgottenError:
                continue
        try:
            await pod.claim(request_of(bench.sources[bench.first], 1))
            lease = await pod.take()
            assert lease is None or await pod.renew(lease) == []
        except (ForgottenError, AssertionError):
            continue
        if all(marker.is_ready and marker.is_whole(PARTITIONS) for marker in await pod.markers.look()):
            return
    raise AssertionError("claims stay refused")


async def test_a_turn_that_never_ends_is_nobodys(one_server: tuple[Bench, Redis], namespace: str) -> None:
    bench, client = one_server
    pod = bench.make_pod()
    await client.set(f"{namespace}{{0}}reading:0", b"somebody")
    assert await pod.markers.may_read("a", "0", 5.0)
    await client.delete(f"{namespace}{{0}}reading:1")
    await client.sadd(f"{namespace}{{0}}reading:1", b"x")
    assert await pod.markers.may_read("a", "1", 5.0)


async def test_an_unreadable_claim_is_replaced_by_a_restored_one(one_server: tuple[Bench, Redis], namespace: str) -> None:
    bench, client = one_server
    pod, source = bench.make_pod(), bench.sources[1]
    marker = (await pod.ready())[1]
    key = shard_prefix(namespace.encode(), 1, bench.shards) + key_digest("g", source, "1")
    commands: Any = client
    for command, value in ((commands.set, b"short"), (commands.sadd, b"x")):
        await commands.delete(key)
        await command(key, value)
        assert await pod.restore(source, marker, number=3) == 1
        found = await pod.claim(request_of(source, 4, 1))
        assert found is not None
        assert unpack(found).origin == Origin(1, 0, 3, 0)
