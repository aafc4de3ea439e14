"""What a page costs does not depend on how many sources there are: it is read from its place, and no further."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from dedup_service.adapters.redis.board import RedisPodBoard
from dedup_service.adapters.redis.calls import connect
from dedup_service.adapters.redis.ledger import RedisLedger
from dedup_service.adapters.redis.ledger_keys import source_digest
from dedup_service.api.app import create_app
from dedup_service.core.accounting import HOUR_MS
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.metrics import create_registry
from dedup_service.telemetry import Telemetry
from tests.doubles.timeline import MemoryTimelineStore
from tests.support.groups import group_of

FEW, MANY = 500, 100_000
GROUP = "g"
HISTORY = msgspec.msgpack.encode([("1", 100, [(n, n, 1) for n in range(1, 21, 2)], 0, 0, 0)])
PATHS = ("/v1/gaps", "/v1/sources")
ATTEMPTS = 5
HOURS = 25
"""Hashes of counts that a source has in a day, with the present hour."""
COUNTS: Any = {b"f0": 3500, b"d1": 3400, b"o0": 100, b"r1": 100, b"r2": 3400, b"c0": b"\xff" * 16} | {
    b"h1:%d" % bucket: 100 for bucket in range(-6, 7)
}


async def fill(client: Redis, namespace: str, sources: int) -> None:
    """Sources with ten gaps each, as the claim script would have left them."""
    now_ms, prefix = time.time_ns() // 1_000_000, f"{namespace}{{0}}"
    names = [f"opc.tcp://plant/machine-{n:06}/temperature" for n in range(sources)]
    for at in range(0, sources, 5_000):
        part, pipeline = names[at : at + 5_000], client.pipeline(transaction=False)
        for index in ("sources", "gapped"):
            pipeline.zadd(f"{prefix}:{index}:{GROUP}", dict.fromkeys(part, now_ms))
        for index in ("named", "gapped-named"):
            pipeline.zadd(f"{prefix}:{index}:{GROUP}", dict.fromkeys(part, 0))
        pipeline.mset({f"{prefix}:gaps:{source_digest(GROUP, name)}": HISTORY for name in part})
        await pipeline.execute()


def app_of(client: Redis, namespace: str) -> FastAPI:
    ledger, board = RedisLedger(client, namespace=namespace, shards=1), RedisPodBoard(client, namespace=namespace)
    fleet = Fleet(ledger, board, MemoryTimelineStore(), [group_of(name=GROUP)])
    registry = create_registry(Telemetry(), lambda: None)
    return create_app(registry, fleet, alive=lambda: True, not_ready=lambda: None, token=None, remark=lambda: "")


async def count(client: Redis, namespace: str, sources: int) -> None:
    """A day's counts of the first sources."""
    hour, pipeline = time.time_ns() // 1_000_000 // HOUR_MS, client.pipeline(transaction=False)
    for n in range(sources):
        digest = source_digest(GROUP, f"opc.tcp://plant/machine-{n:06}/temperature")
        for place in range(HOURS):
            pipeline.hset(f"{namespace}{{0}}:source:{digest}:{hour - place}", mapping=COUNTS)
    await pipeline.execute()


async def cheapest(ask: Callable[[], Awaitable[Any]]) -> float:
    """CPU seconds of this process, which is what the event loop is kept from other work."""
    spent = []
    for _ in range(ATTEMPTS):
        before = time.process_time()
        await ask()
        spent.append(time.process_time() - before)
    return min(spent)


async def commands(client: Redis) -> Counter[str]:
    stats = await client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): int(figures["calls"]) for name, figures in stats.items()})


async def test_a_page_costs_the_same_with_a_hundred_thousand_sources(redis_url: str, namespace: str) -> None:
    redis = connect(redis_url, 30.0)
    assert isinstance(redis, Redis)
    costs: dict[tuple[str, int], tuple[float, Counter[str]]] = {}
    for sources in (FEW, MANY):
        name = f"{namespace}-{sources}"
        await fill(redis, name, sources)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(redis, name)), base_url="http://x") as client:
            for path in PATHS:
                places: dict[str, str] = {}

                async def ask(path: str = path, places: dict[str, str] = places) -> None:
                    answer = await client.get(path, params={"limit": 100, **places})
                    assert len(answer.json()["items"]) == 100
                    places["after"] = answer.json()["next"]

                await ask()  # a server learns the scripts with their first call
                before = await commands(redis)
                await ask()
                asked = await commands(redis) - before
                del asked["info"]
                costs[path, sources] = await cheapest(ask), asked
    for path in PATHS:
        (few, asked_few), (many, asked_many) = costs[path, FEW], costs[path, MANY]
        assert asked_many == asked_few
        assert many < 3 * few, f"{path}: {few * 1000:.1f} ms with {FEW} sources, {many * 1000:.1f} ms with {MANY}"
        print(f"{path}: {many * 1000:.1f} ms of CPU, {asked_many.total()} commands")
    await redis.aclose()


async def test_a_page_of_sources_costs_the_loop_no_more_than_its_answer(redis_url: str, namespace: str) -> None:
    """With a full day of counts for each of its sources: Redis adds them up, in a call for each 32 sources, and the loop is
    kept about as long as by making the answer's text. It was kept by 2,500 hashes."""
    redis = connect(redis_url, 30.0)
    assert isinstance(redis, Redis)
    await fill(redis, namespace, FEW)
    await count(redis, namespace, 100)
    answers: list[httpx.Response] = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(redis, namespace)), base_url="http://x") as client:

        async def ask() -> None:
            answers.append(await client.get("/v1/sources", params={"limit": 100}))

        before = await commands(redis)
        await ask()
        asked = await commands(redis) - before
        spent = await cheapest(ask)
    assert {item["readings"] for item in answers[0].json()["items"]} == {3500 * HOURS}
    assert asked["evalsha"] + asked["eval"] <= 5
    by_hash = await cheapest(lambda: read_hash_by_hash(redis, namespace))
    print(f"{spent * 1000:.1f} ms of CPU, {by_hash * 1000:.1f} ms to read each hash")
    assert spent < by_hash
    await redis.aclose()


async def read_hash_by_hash(client: Redis, namespace: str) -> None:
    hour, pipeline = time.time_ns() // 1_000_000 // HOUR_MS, client.pipeline(transaction=False)
    for n in range(100):
        digest = source_digest(GROUP, f"opc.tcp://plant/machine-{n:06}/temperature")
        for place in range(HOURS):
            pipeline.hgetall(f"{namespace}{{0}}:source:{digest}:{hour - place}")
    await pipeline.execute()


@pytest.mark.parametrize("contains", ["099999", "no such source"])
async def test_looking_for_a_text_leaves_the_loop_to_others_in_between(
    redis_url: str, namespace: str, contains: str
) -> None:
    """All names have to be looked at, but not at once."""
    redis = connect(redis_url, 30.0)
    assert isinstance(redis, Redis)
    await fill(redis, namespace, MANY)
    ledger = RedisLedger(redis, namespace=namespace, shards=1)
    found = await ledger.sources(GROUP, limit=10, contains=contains)
    assert [item.source for item in found] == ["opc.tcp://plant/machine-099999/temperature"] * (contains == "099999")
    await redis.aclose()
