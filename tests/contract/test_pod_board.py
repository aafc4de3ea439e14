"""What pods report to each other counts once, in memory as in Redis, and does not pile up there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from dedup_service.adapters.redis.board import RedisPodBoard
from dedup_service.adapters.redis.calls import connect
from dedup_service.core.accounting import HOUR_MS, KEEP_HOURS, MINUTE_MS, Counts
from dedup_service.core.flow import KEEP_FLOW_MINUTES, SLOT_MS, Sums, slots_of
from dedup_service.core.pod_report import PodReport
from dedup_service.core.unknown_formats import by_group, counter_of
from dedup_service.ports.pods import PodBoard, SharedContent
from tests.doubles.board import MemoryPodBoard
from tests.support.flow import merged
from wire.formats.recognise import SHAPES

REPORT = PodReport("1", 1)
CLOCKS_MS = 1000
"""By how much Redis' clock may differ from this process's on one machine."""


def total_of(counts: Counts) -> int:
    return sum(counts.values())


@dataclass
class Bench:
    board: PodBoard

    async def recognised(self, hours: int = 1) -> dict[str, int]:
        hour = time.time_ns() // 1_000_000 // HOUR_MS
        return dict(await self.board.recognised(range(hour - hours, hour + 2)))


@pytest.fixture(params=["memory", "redis", "cluster"])
async def bench(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield Bench(MemoryPodBoard())
        return
    is_cluster = request.param == "cluster"
    client = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    yield Bench(RedisPodBoard(client, namespace=namespace))
    await client.aclose()


async def test_a_report_that_arrives_twice_counts_once(bench: Bench) -> None:
    for number in (1, 1, 2, 1):
        await bench.board.tell("a", number, REPORT, {"COPIES|edge-1": 2, "COPIES|edge-2": 1}, {"telegraf|default": 3})
    await bench.board.tell("b", 1, REPORT, {"COPIES|edge-1": 1}, {"telegraf|default": 1, "kepware|presses": 5})
    await bench.board.tell("b", 2, REPORT, {})
    assert await bench.board.totals() == {"COPIES|edge-1": 5, "COPIES|edge-2": 2}
    assert await bench.recognised() == {"telegraf|default": 7, "kepware|presses": 5}


async def test_what_was_finished_is_credited_to_its_slot_once(bench: Bench) -> None:
    before = time.time_ns() // 1_000_000
    for number in (1, 1, 2):
        await bench.board.tell("a", number, REPORT, {"COPIES|edge-1": 3}, {"telegraf|default": 1}, {"a|b|c": 3, "a|b|r": 1})
    await bench.board.tell("b", 1, REPORT, {}, {}, {"a|b|d": 2, "ovens|c": 1})
    after = time.time_ns() // 1_000_000
    minutes = list(range(before // MINUTE_MS - 1, after // MINUTE_MS + 2))
    found = await bench.board.flow("a|b", minutes)
    slots = merged(slots_of(minute, counts) for minute, counts in zip(minutes, found, strict=True))
    assert sum(slots.values(), Sums()) == Sums(6, 2, 2)
    assert all(before - SLOT_MS - CLOCKS_MS < at < after + CLOCKS_MS for at in slots)
    assert sum(map(total_of, await bench.board.flow("ovens", minutes))) == 1
    assert await bench.board.flow("presses", minutes) == [{}] * len(minutes)
    assert await bench.board.flow("presses", []) == []
    assert await bench.board.totals() == {"COPIES|edge-1": 6}
    assert await bench.recognised() == {"telegraf|default": 2}


async def test_an_hour_of_flow_takes_little_memory(redis_url: str, namespace: str) -> None:
    """docs/redundancy.md names the bound for each group."""
    client = connect(redis_url, 5.0)
    key = f"{namespace}flow:presses:29999999"
    for slot in range(MINUTE_MS // SLOT_MS):
        await client.hset(key, mapping=dict.fromkeys((f"{slot}c", f"{slot}r", f"{slot}d"), 1_000_000))
    used = await client.memory_usage(key)
    assert isinstance(used, int)
    assert 0 < used * KEEP_FLOW_MINUTES < 150_000
    await client.aclose()


async def test_other_hours_are_not_those_asked_for(bench: Bench) -> None:
    await bench.board.tell("a", 1, REPORT, {}, {"telegraf|default": 3})
    hour = time.time_ns() // 1_000_000 // HOUR_MS
    assert await bench.board.recognised(range(hour - 9, hour - 1)) == {}
    assert await bench.board.recognised([]) == {}


async def test_what_belongs_to_a_time_expires(redis_url: str, namespace: str) -> None:
    client = connect(redis_url, 5.0)
    board = RedisPodBoard(client, namespace=namespace)
    await board.tell("a", 1, REPORT, {}, {counter_of(shape, "default"): 1 for shape in SHAPES}, {"default|c": 1})
    await client.aclose()
    async with Redis.from_url(redis_url) as redis:
        for what, seconds in (("recognised", KEEP_HOURS * 3600), ("flow", KEEP_FLOW_MINUTES * 60 + 120)):
            keys = [key async for key in redis.scan_iter(match=f"{namespace}*{what}*")]
            assert keys
            for key in keys:
                assert 0 < await redis.ttl(key) <= seconds


def test_only_known_shapes_of_configured_groups_are_read() -> None:
    """What stands in Redis may have been written by anybody."""
    counts = {
        "telegraf|default": 2,
        "telegraf|a|b": 1,
        "anything|default": 9,
        "telegraf|other": 9,
        "kepware|default": -1,
        "": 1,
    }
    assert by_group(counts, ["default", "a|b", "empty"]) == {
        "default": {"telegraf": 2},
        "a|b": {"telegraf": 1},
        "empty": {},
    }


ALL_BYTES = bytes(range(256))


async def test_one_of_many_makes_what_all_read(bench: Bench) -> None:
    board = bench.board
    first = [await board.shared("x", 60_000, 60_000) for _ in range(5)]
    assert [item.is_mine_to_make for item in first] == [True, False, False, False, False]
    assert {item.content for item in first} == {None}
    await board.share("x", ALL_BYTES, 60_000)
    assert {await board.shared("x", 60_000, 60_000) for _ in range(5)} == {SharedContent(ALL_BYTES, is_mine_to_make=False)}


async def test_while_the_next_is_made_all_read_the_one_before(bench: Bench) -> None:
    board = bench.board
    await board.share("x", b"old", 60_000)
    found = [await board.shared("x", 0, 60_000) for _ in range(3)]
    assert [(item.content, item.is_mine_to_make) for item in found] == [(b"old", True), (b"old", False), (b"old", False)]
    assert (await board.shared("y", 60_000, 60_000)).is_mine_to_make


async def test_what_was_just_made_is_not_made_again_before_its_maker_has_rested(bench: Bench) -> None:
    board = bench.board
    assert (await board.shared("x", 0, 60_000)).is_mine_to_make
    await board.share("x", b"made", 60_000, 60_000)
    assert await board.shared("x", 0, 60_000) == SharedContent(b"made", is_mine_to_make=False)
    await board.share("x", b"made", 60_000, 50)
    async with asyncio.timeout(60):
        while not (await board.shared("x", 0, 60_000)).is_mine_to_make:  # only Redis knows
            await asyncio.sleep(0.01)


async def test_a_turn_ends_by_itself(bench: Bench) -> None:
    board = bench.board
    assert (await board.shared("x", 0, 50)).is_mine_to_make

    async with asyncio.timeout(60):
        while not (await board.shared("x", 0, 50)).is_mine_to_make:  # only Redis knows
            await asyncio.sleep(0.01)


async def test_what_others_wrote_under_the_shared_keys_is_made_anew(redis_url: str, namespace: str) -> None:
    client = connect(redis_url, 5.0)
    reported: list[str] = []
    board = RedisPodBoard(client, namespace=namespace, report=reported.append)
    content, turn = f"{namespace}{{0}}board:shared:x", f"{namespace}{{0}}board:shared-turn:x"
    await client.set(content, b"no time in it")
    await client.set(turn, b"for ever")
    assert await board.shared("x", 60_000, 60_000) == SharedContent(None, is_mine_to_make=True)
    assert set(reported) == {content, turn}
    await client.set(content, b"99999999999999 from the future")
    await board.share("y", b"", 60_000)
    await client.delete(turn)
    assert (await board.shared("x", 60_000, 60_000)).is_mine_to_make
    await client.aclose()
