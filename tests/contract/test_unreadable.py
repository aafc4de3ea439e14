"""Whatever stands in Redis under keys of ours: what can't be read counts as forgotten, is reported, and stops nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from dedup_service.adapters.redis.board import RedisPodBoard
from dedup_service.adapters.redis.calls import connect
from dedup_service.adapters.redis.claims import RedisClaims
from dedup_service.adapters.redis.leases import RedisLeases
from dedup_service.adapters.redis.ledger import RedisLedger
from dedup_service.adapters.redis.marked import Generations
from dedup_service.adapters.redis.markers import RedisMarkers
from dedup_service.adapters.redis.timeline import RedisTimelineStore
from dedup_service.adapters.redis.unreadable import text
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import CONFIRMED, key_digest, restored_claims
from dedup_service.core.events import Origin, Reading
from dedup_service.core.examples import ConflictExample
from dedup_service.core.extract import content_hash
from dedup_service.core.leases import Lease, LeaseRecord, Presence
from dedup_service.core.markers import BEGINNING_MS, ReadBack, RestoredEvent
from dedup_service.core.pod_report import PodReport
from dedup_service.core.progress import Position
from dedup_service.core.timeline import Timeline
from dedup_service.errors import ForgottenError

GROUP, SOURCE = "presses", "urn:a"
PARTITIONS = ["0", "1"]
RECORD = LeaseRecord(Position(5, "5", 1), {"0": 7}, 1)
REPORT = PodReport("1", 1, {"0": (5, 1, 1)})

STRINGS = [
    *(b"", b"garbage", b"\xff\x00", b"nan", b"-1", b"5", b"1" * 35, b"99999999999999999999"),
    *(b"[1,2", b"null", b"[[1,2],{},3]", b'["x"]', b"\x93\x01\x02\x03", b"\xc0"),
    *(b"1e3", b"0x10", b"05", b"5.0"),
]
ROUNDS = 3
TYPES = ["string", "list", "set", "zset", "hash", "stream"]


EXAMPLE = ConflictExample(
    group=GROUP,
    source=SOURCE,
    id="b0",
    replica="edge-1",
    enqueued_ms=1,
    content="ab",
    bytes=2,
    winner_replicas=1,
    winner_enqueued_ms=1,
    winner_content="cd",
)


@dataclass
class Deployment:
    """Does everything that a pod does with Redis, one thing after the other."""

    redis: Redis
    namespace: str
    claims: RedisClaims
    leases: RedisLeases
    markers: RedisMarkers
    board: RedisPodBoard
    timeline: RedisTimelineStore
    ledger: RedisLedger
    reported: list[str]
    numbers: dict[int, int] = field(default_factory=dict)
    told: int = 0

    async def live(self) -> None:
        """What the markers say may be found out only by a call that is refused."""
        for _ in range(ROUNDS):
            await self._rebuild()
            try:
                await self._work()
            except ForgottenError:
                continue
            assert self.markers.are_ready
            return
        raise AssertionError("claims stay refused")

    async def _rebuild(self) -> None:
        for marker in await self.markers.look():
            assert await self.markers.fence(marker) >= 0
            try:
                for partition in PARTITIONS:
                    assert await self.markers.may_read("pod", partition, 5.0)
                    claims = restored_claims(Origin(1, 0, 0, 0), [0], [content_hash(b"")], 0, 1)
                    keys = [key_digest(GROUP, SOURCE, "published")]
                    event = RestoredEvent(marker.now_ms + 60_000, marker.now_ms + 60_000, [SOURCE], keys, claims)
                    await self.markers.restore([event], [marker])
                    await self.markers.note(marker, partition, ReadBack(BEGINNING_MS, 0), PARTITIONS)
            except ForgottenError:
                continue
        await self.markers.look()

    async def _work(self) -> None:
        for replica, name in ((0, "edge-1"), (1, "edge-2")):
            await self.claims.replica_number(GROUP, name)
            self.claims._numbers.clear()
            requests = [self._copy("a", replica), self._copy(f"b{self.told}", replica)]
            await self.claims.claim(requests, (1,))
            await self.claims.confirm(requests, 60_000)
        await self._lease()
        self.told += 1
        await self.board.tell("pod", self.told, REPORT, {"COPIES|edge-1": 1}, {"telegraf|default": 1}, {f"{GROUP}|c": 1})
        await self.board.add_examples("conflict", [EXAMPLE])
        await self.timeline.replace(await self.timeline.load(), Timeline(next_number=self.told))
        await self.look()

    async def _lease(self) -> None:
        await self.leases.known_at_first(1, PARTITIONS)
        await self.leases.renew("pod", [], Presence(progressed_ago=1.0))
        for partition in PARTITIONS:
            lease = await self.leases.take("pod", partition)
            if lease is not None:
                lease.record = RECORD
                await self.leases.renew("pod", [lease])
                await self.leases.write(lease, RECORD, release=True)
        await self.leases.may_sample(0.001)
        await self.leases.save_sample({"0": 3}, 0.001)
        await self.leases.recent_sample()

    async def look(self) -> None:
        """What the API and the metrics ask for."""
        now_ms = await self.ledger.now_ms()
        minutes = range(now_ms // 60_000 - 10, now_ms // 60_000 + 1)  # one may begin while a test runs
        await self.ledger.minutes(GROUP, minutes)
        hours = range(now_ms // 3_600_000 - 1, now_ms // 3_600_000 + 1)
        await self.ledger.hours(GROUP, hours)
        await self.ledger.replicas(GROUP)
        await self.ledger.sources(GROUP)
        await self.ledger.source_counts(GROUP, SOURCE, hours)
        await self.ledger.gaps(GROUP)
        await self.ledger.find(GROUP, SOURCE, "a")
        await self.board.pods()
        await self.board.totals()
        await self.board.recognised(hours)
        await self.board.flow(GROUP, minutes)
        await self.board.examples("conflict")
        await self.board.memory()
        await self.timeline.load()

    def _copy(self, reading_id: str, replica: int) -> ClaimRequest:
        self.numbers[replica] = number = self.numbers.get(replica, -1) + 1
        reading = Reading(0, SOURCE, reading_id, [], content_hash(b""), "2026-01-01T00:00:00Z", str(self.told * 7), "e")
        keys = [key_digest(GROUP, SOURCE, reading_id)]
        event, now_ms = Origin(1, replica, number, 0), time.time_ns() // 1_000_000
        return ClaimRequest(GROUP, replica, event, now_ms, 60_000, 60_000, [reading], keys, frozenset(), is_timed=True)

    async def keys(self) -> list[bytes]:
        return sorted([key async for key in self.redis.scan_iter(match=f"{self.namespace}*")])


@pytest.fixture
async def deployment(redis_url: str, namespace: str) -> AsyncIterator[Deployment]:
    client, reported = connect(redis_url, 5.0), list[str]()
    report = reported.append
    generations = Generations(namespace, 1)
    leases = RedisLeases(
        client,
        generations=generations,
        namespace=namespace,
        scope="hub",
        partition_ids=PARTITIONS,
        ttl_seconds=5.0,
        monotonic=time.monotonic,
        report=report,
    )
    claims = RedisClaims(client, namespace=namespace, report=report, generations=generations)
    markers = RedisMarkers(client, generations, namespace=namespace, rebuilds=True, report=report)
    board = RedisPodBoard(client, namespace=namespace, report=report)
    timeline = RedisTimelineStore(client, namespace=namespace, report=report)
    ledger = RedisLedger(client, namespace=namespace, shards=1, report=report)
    async with Redis.from_url(redis_url) as redis:
        yield Deployment(redis, namespace, claims, leases, markers, board, timeline, ledger, reported)
    await client.aclose()


async def put(redis: Redis, key: bytes, kind: str) -> None:
    await redis.delete(key)
    match kind:
        case "string":
            await redis.set(key, b"garbage")
        case "list":
            await redis.rpush(key, b"garbage")
        case "set":
            await redis.sadd(key, b"garbage")
        case "zset":
            await redis.zadd(key, {b"\xff": float("inf")})
        case "hash":
            await redis.hset(key, b"\xff", b"garbage")
        case "stream":
            await redis.xadd(key, {b"garbage": b"garbage"})


@pytest.mark.parametrize("kind", TYPES)
async def test_a_key_of_any_other_type_stops_nothing(deployment: Deployment, kind: str) -> None:
    await deployment.live()
    keys = await deployment.keys()
    assert len(keys) > 15
    for key in keys:
        own_type = text(await deployment.redis.type(key))
        deployment.reported.clear()
        await put(deployment.redis, key, kind)
        await deployment.look()
        await deployment.live()
        is_unread = key.endswith((b"sample:turn", key_digest(GROUP, SOURCE, "b0")))
        assert own_type == kind or is_unread or text(key) in deployment.reported, key
        await deployment.live()


@pytest.mark.parametrize("example", [{}, {**EXAMPLE, "bytes": "2"}, {**EXAMPLE, "winner_replicas": 2**40}], ids=str)
async def test_an_example_of_another_shape_is_left_out_and_reported(deployment: Deployment, example: dict[str, Any]) -> None:
    await deployment.board.add_examples("conflict", [EXAMPLE, example])
    assert await deployment.board.examples("conflict") == [EXAMPLE]
    assert any("notes:conflict" in key for key in deployment.reported)


@pytest.mark.parametrize("value", STRINGS, ids=range(len(STRINGS)))
async def test_any_bytes_in_place_of_ours_stop_nothing(deployment: Deployment, value: bytes) -> None:
    await deployment.live()
    for key in await deployment.keys():
        for overwrite in await overwrites(deployment.redis, key, value):
            await overwrite()
            await deployment.look()
            await deployment.live()
    assert (await deployment.ledger.replicas(GROUP))[0].name
    assert (await deployment.board.pods())[0].report == REPORT


async def overwrites(redis: Redis, key: bytes, value: bytes) -> list[Callable[[], Awaitable[object]]]:
    """Every place in the key that holds bytes."""
    match text(await redis.type(key)):
        case "string":
            return [lambda: redis.set(key, value)]
        case "hash":
            fields = await redis.hkeys(key)
            return [lambda name=name: redis.hset(key, name, value) for name in fields]  # type: ignore[misc]  # binds the loop's value
        case "list":
            return [lambda: redis.lset(text(key), 0, value)]  # type: ignore[arg-type]  # any bytes will do
        case "zset":
            return [lambda: redis.zadd(key, {value: 1.0})]
    return []


async def test_an_unreadable_claim_is_claimed_anew_and_reported(deployment: Deployment) -> None:
    await deployment._rebuild()
    request = deployment._copy("a", 0)
    assert await deployment.claims.claim([request], (1,)) == [None]
    (key,) = [key for key in await deployment.keys() if key.endswith(request.keys[0])]
    await deployment.redis.set(key, b"not a claim")
    assert await deployment.claims.claim([deployment._copy("a", 1)], (1,)) == [None]
    assert len(deployment.reported) == 1
    assert await deployment.claims.claim([deployment._copy("a", 0)], (1,)) != [None]


@pytest.mark.parametrize("kind", ["list", "string"])
async def test_an_unreadable_claim_among_others_is_claimed_and_confirmed_too(deployment: Deployment, kind: str) -> None:
    """They are written together, which one of another type must not prevent."""
    await deployment._rebuild()
    requests = [deployment._copy(name, number) for number, name in enumerate("abc")]
    await deployment.claims.claim(requests, (1,))
    (key,) = [key for key in await deployment.keys() if key.endswith(requests[1].keys[0])]
    await deployment.redis.delete(*[key[:-16] + request.keys[0] for request in requests])
    await put(deployment.redis, key, kind)
    assert await deployment.claims.claim(requests, (1,)) == [None, None, None]
    await put(deployment.redis, key, kind)
    assert await deployment.claims.confirm(requests, 60_000) == 0
    found = await deployment.claims.claim([deployment._copy(name, 9) for name in "abc"], (1,))
    assert [claim and claim[0] for claim in found] == [CONFIRMED] * 3
    assert deployment.reported == [text(key)] * 2


async def test_an_unreadable_record_is_forgotten_and_the_partition_taken(deployment: Deployment) -> None:
    await deployment._rebuild()
    lease = await deployment.leases.take("pod", "0")
    assert lease is not None
    await deployment.leases.write(lease, RECORD, release=True)
    (key,) = [key for key in await deployment.keys() if b"lease" in key]
    await deployment.redis.hset(key, "record", b"{")
    again = await deployment.leases.take("pod", "0")
    assert isinstance(again, Lease)
    assert again.inherited is None
    assert again.epoch > lease.epoch
    assert deployment.reported == [key.decode()]


@pytest.mark.parametrize(
    "record",
    [
        [[5, "5", 1], {"0": 7}, 2**32],
        [[5, "5", 1], {"0": 7}, -1],
        [["5", "5", 1], {"0": 7}, 1],
        [[5, "5"], {"0": 7}, 1],
        [[5, "5", 1], {"0": "x"}, 1],
        [[5, "5", 1], None, 1],
        {},
    ],
)
def test_a_record_of_another_shape_is_refused_as_a_whole(record: object) -> None:
    with pytest.raises(msgspec.MsgspecError):
        LeaseRecord.decode(msgspec.json.encode(record))
