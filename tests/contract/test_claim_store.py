"""The laws of a claim store: on the in-memory double, a real Valkey, a cluster, and a Valkey that is limited to Redis 6.

On the last one, the tests connect as a user who may call only commands that Redis 6.0 has. The options of SET that the
scripts use are checked by monitoring the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from dedup_service.adapters.redis.calls import RedisClient, connect
from dedup_service.adapters.redis.claims import RedisClaims, check_eviction
from dedup_service.adapters.redis.ledger import RedisLedger
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import OTHER_REPLICA, Verdict, event_bytes, judge, key_digests, unpack
from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import content_hash
from dedup_service.errors import ConfigurationError, UnavailableError
from dedup_service.ports.accounting import Ledger
from dedup_service.ports.claims import ClaimStore
from tests.doubles.memory import MemoryClaims, MemoryClock

REDIS_6_COMMANDS = (
    "evalsha",
    "script|load",
    "get",
    "set",
    "hget",
    "hset",
    "hgetall",
    "del",
    "hdel",
    "hincrby",
    "expire",
    "time",
    "zadd",
    "zcard",
    "zrem",
    "zscore",
    "pttl",
    "pexpire",
    "info",
    "ping",
    "client|setinfo",
    "select",
    "zrangebyscore",
    "mget",
)
LIVE = (1, 2)
SHARDS = 3
TTL_MS = 60_000
LONG_MS = 100 * TTL_MS
SLACK_MS = TTL_MS // 2
"""Far longer than a test takes."""


@dataclass
class Bench:
    store: ClaimStore
    ledger: Ledger
    sleep_ms: Callable[[int], Awaitable[None]]

    async def left_ms(self, reading_id: str) -> int:
        """For how long the claim of a reading of the source "s" is still kept."""
        stored = await self.ledger.find("g", "s", reading_id)
        assert stored is not None
        return stored.ttl_ms

    async def published(self, *requests: ClaimRequest) -> None:
        """Claims and confirms."""
        await self.store.claim(requests, LIVE)
        assert await self.store.confirm(requests, TTL_MS) == 0


@pytest.fixture(params=["memory", "valkey", "redis-6", "cluster"])
async def bench(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> AsyncIterator[Bench]:
    if request.param == "memory":
        clock = MemoryClock()
        claims = MemoryClaims(clock)
        yield Bench(claims, claims.ledger, lambda ms: clock.sleep(ms / 1000))
        return
    if request.param == "cluster":
        client = connect(request.getfixturevalue("redis_cluster"), 5.0, is_cluster=True)
    else:
        client = connect(redis_url, 5.0)
    if request.param == "redis-6":
        await client.aclose()
        client = await limited_to_redis_6(redis_url)
    store = RedisClaims(client, namespace=namespace, shards=SHARDS)
    yield Bench(store, RedisLedger(client, namespace=namespace, shards=SHARDS), lambda ms: asyncio.sleep(ms / 1000))
    await store.close()


async def limited_to_redis_6(redis_url: str) -> RedisClient:
    async with Redis.from_url(redis_url) as redis:
        await redis.acl_setuser(
            "redis6", enabled=True, passwords=["+six"], keys=["*"], commands=["-@all", *(f"+{c}" for c in REDIS_6_COMMANDS)]
        )
    return connect(redis_url.replace("redis://", "redis://redis6:six@"), 5.0)


def request_of(reading_id: str, sequence: int = 0, **given: Any) -> ClaimRequest:
    """The claim request of an event with one reading."""
    return event_of([reading_id], sequence, **given)


def event_of(
    reading_ids: list[str],
    sequence: int = 0,
    *,
    replica: int = 0,
    incarnation: int = 1,
    content: bytes = b"x",
    source: str = "s",
) -> ClaimRequest:
    readings = [Reading(index, source, name, [], content_hash(content)) for index, name in enumerate(reading_ids)]
    event = Origin(incarnation, 0, sequence, 0)
    return ClaimRequest(
        "g", replica, event, 1_700_000_000_000, TTL_MS, TTL_MS, readings, key_digests("g", readings), late=frozenset()
    )


def claim_of(request: ClaimRequest) -> bytes:
    (claim,) = request.claims_of(request.readings)
    return claim


def verdicts(requests: list[ClaimRequest], claims: list[bytes | None], *, in_doubt: bool = False) -> list[Verdict]:
    copies = [(event_bytes(request.event), reading) for request in requests for reading in request.readings]
    return [judge(event, reading, claim, in_doubt=in_doubt) for (event, reading), claim in zip(copies, claims, strict=True)]


async def test_the_first_copy_gets_the_key_and_the_others_find_it(bench: Bench) -> None:
    first, second = request_of("1", 0), request_of("1", 1)
    assert await bench.store.claim([first], LIVE) == [None]
    assert await bench.store.claim([second], LIVE) == [claim_of(first)]


async def test_answers_come_in_the_order_of_the_requests_over_all_shards(bench: Bench) -> None:
    requests = [request_of(str(n), source=f"urn:{n % 7}") for n in range(30)]
    assert await bench.store.claim(requests[::2], LIVE) == [None] * 15
    claims = await bench.store.claim(requests, LIVE)
    assert claims == [claim_of(request) if n % 2 == 0 else None for n, request in enumerate(requests)]


async def test_the_readings_of_one_event_on_several_shards_are_answered_in_their_order(bench: Bench) -> None:
    names = [str(n) for n in range(20)]
    mixed = event_of(names)
    readings = [replace(reading, source=f"urn:{reading.index % 7}") for reading in mixed.readings]
    request = replace(mixed, readings=readings, keys=key_digests("g", readings))
    places = range(0, 20, 3)
    assert await bench.store.claim([request.only(places)], LIVE) == [None] * len(places)
    claims = await bench.store.claim([event_of(["other"], 1), request], LIVE)
    assert claims == [None, *(claim if place % 3 == 0 else None for place, claim in enumerate(request.claims_of(readings)))]


async def test_a_reading_that_occurs_twice_in_one_event_wins_once(bench: Bench) -> None:
    event = event_of(["1", "2", "1"])
    claims = await bench.store.claim([event], LIVE)
    assert verdicts([event], claims) == [Verdict.WINNER, Verdict.WINNER, Verdict.DUPLICATE]


async def test_copies_in_one_call_are_claimed_in_order(bench: Bench) -> None:
    first, second = request_of("1", 0), request_of("1", 1)
    assert await bench.store.claim([first, second], LIVE) == [None, claim_of(first)]


async def test_a_repeated_call_finds_its_own_claim(bench: Bench) -> None:
    requests = [request_of(str(n)) for n in range(5)]
    await bench.store.claim(requests, LIVE)
    assert verdicts(requests, await bench.store.claim(requests, LIVE)) == [Verdict.WINNER] * 5


async def test_a_confirmed_claim_is_found_confirmed(bench: Bench) -> None:
    request = request_of("1")
    await bench.store.claim([request], LIVE)
    assert await bench.store.confirm([request], TTL_MS) == 0
    claims = await bench.store.claim([request], LIVE)
    assert verdicts([request], claims, in_doubt=True) == [Verdict.REPLAY]
    assert await bench.store.confirm([request], TTL_MS) == 0


async def test_confirming_keeps_the_replicas_that_were_added(bench: Bench) -> None:
    first = request_of("1", 0, replica=0)
    await bench.store.claim([first], LIVE)
    await bench.store.claim([request_of("1", 1, replica=31)], LIVE)
    await bench.store.confirm([first], TTL_MS)
    await bench.store.claim([request_of("1", 2, replica=5)], LIVE)
    (claim,) = await bench.store.claim([first], LIVE)
    assert claim is not None
    assert unpack(claim).replicas == 1 | 1 << 31 | 1 << 5
    assert unpack(claim).confirmed


async def test_only_the_origin_that_holds_the_claim_confirms_it(bench: Bench) -> None:
    first, second = request_of("1", 0), request_of("1", 1)
    await bench.store.claim([first], LIVE)
    assert await bench.store.confirm([second], TTL_MS) == 1
    (claim,) = await bench.store.claim([first], LIVE)
    assert claim is not None
    assert not unpack(claim).confirmed


async def test_a_claim_that_is_gone_is_written_again_when_it_is_confirmed(bench: Bench) -> None:
    request = request_of("1")
    assert await bench.store.confirm([request], TTL_MS) == 0
    claims = await bench.store.claim([request_of("1", 1)], LIVE)
    assert verdicts([request], claims, in_doubt=True) == [Verdict.REPLAY]


async def test_an_unconfirmed_claim_ends_with_its_ttl_and_a_confirmed_one_with_its_own(bench: Bench) -> None:
    short = [replace(r, ttl_ms=40) for r in (request_of("1"), request_of("2"))]
    await bench.store.claim(short, LIVE)
    await bench.store.confirm(short[1:], TTL_MS)
    await bench.store.claim([request_of("1", 7), request_of("2", 7)], LIVE)  # finding a claim does not extend it
    await bench.sleep_ms(80)
    claims = await bench.store.claim([request_of("1", 1), request_of("2", 1)], LIVE)
    assert claims[0] is None
    assert claims[1] is not None


async def test_a_repetition_keeps_a_confirmed_claim_as_a_confirmation_would(bench: Bench) -> None:
    await bench.published(request_of("1", 0))
    before = await bench.store.claim([request_of("1", 1)], LIVE)
    await bench.store.claim([replace(request_of("1", 2), confirmed_ttl_ms=LONG_MS)], LIVE)
    assert LONG_MS - SLACK_MS < await bench.left_ms("1") <= LONG_MS
    assert await bench.store.claim([request_of("1", 3)], LIVE) == before


async def test_a_repetition_with_another_content_keeps_the_claim_too(bench: Bench) -> None:
    await bench.published(request_of("1", 0))
    conflict = replace(request_of("1", 1, content=b"other"), confirmed_ttl_ms=LONG_MS)
    assert verdicts([conflict], await bench.store.claim([conflict], LIVE)) == [Verdict.CONFLICT]
    assert await bench.left_ms("1") > LONG_MS - SLACK_MS


async def test_a_reading_that_a_replica_repeats_is_published_once_however_long(bench: Bench) -> None:
    """Of another replica's copies, too: the first one is its delivery, the further ones are repetitions."""
    long = [replace(request_of("1", n, replica=n % 2), confirmed_ttl_ms=LONG_MS) for n in range(4)]
    await bench.published(long[0])
    await bench.store.claim([long[1]], LIVE)
    assert await bench.left_ms("1") <= TTL_MS
    await bench.store.claim([long[3]], LIVE)
    assert await bench.left_ms("1") > LONG_MS - SLACK_MS


async def test_a_repetition_never_makes_the_end_of_a_claim_earlier(bench: Bench) -> None:
    first = request_of("1", 0)
    await bench.store.claim([first], LIVE)
    await bench.store.confirm([first], LONG_MS)
    await bench.store.claim([request_of("1", 1)], LIVE)
    assert await bench.left_ms("1") > LONG_MS - SLACK_MS


async def test_neither_a_replay_nor_another_replicas_first_copy_keeps_a_claim_longer(bench: Bench) -> None:
    first = request_of("1", 0)
    await bench.published(first)
    replay, second = replace(first, confirmed_ttl_ms=LONG_MS), request_of("1", 1, replica=1)
    await bench.store.claim([replay, replace(second, confirmed_ttl_ms=LONG_MS)], LIVE)
    assert await bench.left_ms("1") <= TTL_MS


async def test_a_repetition_of_what_is_not_confirmed_does_not_let_its_claim_outlive_its_event(bench: Bench) -> None:
    twice = replace(event_of(["1", "1"]), confirmed_ttl_ms=LONG_MS)
    await bench.store.claim([twice, replace(request_of("1", 1), confirmed_ttl_ms=LONG_MS)], LIVE)
    assert await bench.left_ms("1") <= TTL_MS


async def test_repetitions_in_one_event_keep_their_claim_once(bench: Bench) -> None:
    await bench.published(request_of("1", 0))
    twice = replace(event_of(["1", "1"], 1), confirmed_ttl_ms=LONG_MS)
    assert verdicts([twice], await bench.store.claim([twice], LIVE)) == [Verdict.DUPLICATE] * 2
    assert LONG_MS - SLACK_MS < await bench.left_ms("1") <= LONG_MS


async def test_an_unconfirmed_claim_of_a_hub_that_is_gone_counts_as_free(bench: Bench) -> None:
    gone, done = request_of("1", incarnation=9), request_of("2", incarnation=9)
    await bench.store.claim([gone, done], (9,))
    await bench.store.confirm([done], TTL_MS)
    claims = await bench.store.claim([request_of("1", 1), request_of("2", 1)], LIVE)
    assert claims[0] is None
    assert claims[1] is not None


async def test_two_callers_at_once_never_both_win(bench: Bench) -> None:
    keys = [str(n) for n in range(50)]
    calls = [bench.store.claim([request_of(key, caller) for key in keys], LIVE) for caller in range(8)]
    answers = await asyncio.gather(*calls)
    for column in zip(*answers, strict=True):
        assert column.count(None) == 1
        assert len({claim[5:21] for claim in column if claim is not None}) == 1


async def test_replica_numbers_are_allotted_once_for_each_group(bench: Bench) -> None:
    numbers = [await bench.store.replica_number("g", name) for name in ("a", "b", "a", "c")]
    assert numbers == [0, 1, 0, 2]
    assert await bench.store.replica_number("other", "c") == 0


async def test_replicas_beyond_the_last_number_share_one_and_use_no_memory(bench: Bench) -> None:
    numbers = [await bench.store.replica_number("g", f"r{n}") for n in range(40)]
    assert numbers[:31] == list(range(31))
    assert set(numbers[31:]) == {OTHER_REPLICA}
    assert await bench.store.replica_number("g", "r3") == 3


# --- what only a real Redis can show


async def test_five_hundred_replicas_cost_no_round_trip_in_the_steady_state(redis_url: str, namespace: str) -> None:
    """Those beyond the last number were asked for in each batch, one after the other."""
    others, client = connect(redis_url, 5.0), connect(redis_url, 5.0)
    before = RedisClaims(others, namespace=namespace)
    numbers = [await before.replica_number("g", f"r{n}") for n in range(500)]
    store = RedisClaims(client, namespace=namespace)
    asked = 0
    execute = client.execute_command

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return await execute(*arguments, **options)

    client.execute_command = counted  # type: ignore[method-assign]  # counts what the client calls
    assert [await store.replica_number("g", f"r{n}") for n in reversed(range(500))] == numbers[::-1]
    assert 0 < asked <= 3
    asked = 0
    assert [await store.replica_number("g", f"r{n}") for n in range(500)] == numbers
    assert [await store.replica_number("g", f"made-up-{n}") for n in range(500)] == [OTHER_REPLICA] * 500
    assert asked == 0
    await store.close()
    await before.close()


@pytest.fixture
async def valkey_claims(redis_url: str, namespace: str) -> AsyncIterator[RedisClaims]:
    store = RedisClaims(connect(redis_url, 5.0), namespace=namespace)
    yield store
    await store.close()


async def test_the_scripts_use_no_option_that_redis_6_lacks(redis_url: str, namespace: str) -> None:
    claims = RedisClaims(await limited_to_redis_6(redis_url), namespace=namespace)
    async with Redis.from_url(redis_url) as listener, listener.monitor() as monitor:
        request = event_of(["1", "2"])
        await claims.claim([request, event_of(["1", "2"], 1, replica=1)], LIVE)
        await claims.claim([event_of(["1", "2"], 1, replica=2)], LIVE)
        await claims.confirm([request], TTL_MS)
        sets = [words for words in await _own_words(monitor, namespace, redis_url) if words[0] == "SET"]
    await claims.close()
    options = {"NX", "XX", "GET", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "IFEQ"}
    assert {word for words in sets for word in words if word in options} == {"PX", "NX", "KEEPTTL"}


@pytest.mark.parametrize("size", [2, 200])
async def test_without_accounting_a_call_is_two_commands_where_the_server_can(
    size: int, redis_url: str, namespace: str
) -> None:
    claims = RedisClaims(connect(redis_url, 5.0), namespace=namespace, accounting=False)
    ids = [str(number) for number in range(size)]
    requests = [request_of(name, sequence) for sequence, name in enumerate(ids)]
    async with Redis.from_url(redis_url) as listener, listener.monitor() as monitor:
        await claims.claim(requests, LIVE)
        await claims.claim([event_of(ids, size, replica=1)], LIVE)
        await claims.confirm(requests, TTL_MS)
        names = await _own_commands(monitor, namespace, redis_url)
    await claims.close()
    assert [name for name in names if name != "EVALSHA"] == ["MGET", "MSETEX"] * 3


async def test_only_a_repetition_costs_commands_of_its_own(
    redis_url: str, namespace: str, valkey_claims: RedisClaims
) -> None:
    """New readings, other replicas' copies, replays and confirmations cost what they would without the prolonging."""
    request, repetition = request_of("1"), replace(request_of("1", 2), confirmed_ttl_ms=LONG_MS)
    await valkey_claims.claim([request], LIVE)
    async with Redis.from_url(redis_url) as listener, listener.monitor() as monitor:
        await valkey_claims.claim([request, request_of("2", 1), request_of("1", 1, replica=1)], LIVE)
        await valkey_claims.confirm([request], TTL_MS)
        await valkey_claims.claim([request, request_of("1", 2, replica=2)], LIVE)
        ordinary = await _own_commands(monitor, namespace, redis_url)
        await valkey_claims.claim([repetition], LIVE)
        assert [name for name in await _own_commands(monitor, namespace, redis_url) if name[0] == "P"] == ["PTTL", "PEXPIRE"]
        await valkey_claims.claim([request_of("1", 3)], LIVE)
        assert [name for name in await _own_commands(monitor, namespace, redis_url) if name[0] == "P"] == ["PTTL"]
    assert ordinary.count("SET") == 4
    assert not {"PTTL", "PEXPIRE"} & set(ordinary)


async def _own_commands(monitor: Any, namespace: str, redis_url: str) -> list[str]:
    """The names of the commands on this namespace's keys since the last call."""
    return [words[0] for words in await _own_words(monitor, namespace, redis_url)]


async def _own_words(monitor: Any, namespace: str, redis_url: str) -> list[list[str]]:
    async with Redis.from_url(redis_url) as other:
        await other.echo(f"{namespace} is done")
    found: list[list[str]] = []
    async for command in monitor.listen():
        name, *words = command["command"].split()
        if name.upper() == "ECHO" and words[0].startswith(namespace):
            return found
        if any(word.startswith(namespace) for word in words):
            found.append([name.upper(), *words])
    raise AssertionError("the monitor ended")


async def test_scripts_that_redis_has_forgotten_are_loaded_again(redis_url: str, valkey_claims: RedisClaims) -> None:
    await valkey_claims.claim([request_of("1")], LIVE)
    async with Redis.from_url(redis_url) as other:
        await other.script_flush()
    assert await valkey_claims.claim([request_of("2")], LIVE) == [None]


async def test_a_redis_that_does_not_answer_is_unavailable_and_the_outcome_ambiguous() -> None:
    store = RedisClaims(connect("redis://127.0.0.1:1", 0.2), namespace="x")
    with pytest.raises(UnavailableError) as caught:
        await store.claim([request_of("1")], LIVE)
    assert caught.value.ambiguous
    with pytest.raises(UnavailableError):
        await store.ping()
    await store.close()


async def test_a_redis_that_may_evict_is_refused_with_the_name_of_the_setting(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        await check_eviction(client, allowed=False)
        await client.config_set("maxmemory-policy", "volatile-lru")
        try:
            with pytest.raises(ConfigurationError, match="DEDUP_ALLOW_EVICTION: .*volatile-lru"):
                await check_eviction(client, allowed=False)
            await check_eviction(client, allowed=True)
        finally:
            await client.config_set("maxmemory-policy", "noeviction")
