"""What the pods of a deployment cost Redis in one look grows with their number, not with its square."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from dedup_service.adapters.redis.board import RedisPodBoard
from dedup_service.adapters.redis.calls import connect
from dedup_service.adapters.redis.ledger import RedisLedger
from dedup_service.adapters.redis.timeline import RedisTimelineStore
from dedup_service.core.timeline import Timeline
from dedup_service.observability import sharing
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.status import Status
from dedup_service.observability.timeline import TimelineKeeper
from dedup_service.telemetry import PartitionFigures, Telemetry, wall_clock_ms
from tests.support.groups import group_of

FEW, MANY = 5, 50
PARTITIONS = 4
"""Of each pod."""


@dataclass(frozen=True)
class Cost:
    calls: int
    """Commands, with those of scripts."""
    bytes: int
    """To and from Redis."""
    all_reports: int
    """Readings of all pods' reports, by scripts, too."""


def pods_of(number: int, redis: Redis, namespace: str) -> list[Status]:
    board, store = RedisPodBoard(redis, namespace=namespace), RedisTimelineStore(redis, namespace=namespace)
    ledger, groups = RedisLedger(redis, namespace=namespace, shards=1), [group_of()]
    partitions = [str(n) for n in range(number * PARTITIONS)]
    pods = []
    for n in range(number):
        name, fleet = f"pod-{n:02}", Fleet(ledger, board, store, groups, lambda: partitions, namespace=namespace)
        telemetry = Telemetry()
        telemetry.partitions = {
            partition: PartitionFigures(5, wall_clock_ms(), wall_clock_ms())
            for partition in partitions[n * PARTITIONS : (n + 1) * PARTITIONS]
        }
        pods.append(Status(name, board, fleet, telemetry, TimelineKeeper(name, store, fleet, time.monotonic)))
    return pods


async def statistics(redis: Redis) -> tuple[int, int, int]:
    stats, by_command = await redis.info("stats"), await redis.info("commandstats")
    transferred = stats["total_net_input_bytes"] + stats["total_net_output_bytes"]
    readings = sum(by_command[name]["calls"] for name in ("cmdstat_hgetall", "cmdstat_hvals") if name in by_command)
    return stats["total_commands_processed"], transferred, readings


async def cost_of_a_look(number: int, redis: Redis, namespace: str) -> Cost:
    """Each pod reports and looks once; one after another, as they do within the seconds of their interval."""
    pods = pods_of(number, redis, namespace)
    for pod in pods:  # a server learns the scripts with their first call, and all have joined
        await pod.tell()
    await pods[0].look()
    for key in [key async for key in redis.scan_iter(match=f"{namespace}*shared*")]:
        await redis.delete(key)
    before, nothing = await statistics(redis), await statistics(redis)
    for pod in pods:
        await pod.tell()
        await pod.look()
    after = await statistics(redis)
    told = await RedisTimelineStore(redis, namespace=namespace).load()
    assert isinstance(told.timeline, Timeline)
    assert len(told.timeline.pods) == number
    return Cost(*((c - b) - (b - a) for a, b, c in zip(before, nothing, after, strict=True)))


async def test_ten_times_the_pods_cost_ten_times_as_much(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FRESH_MS", "TURN_MS", "KEEP_MS"):  # however slow the machine is, all look within one interval
        monkeypatch.setattr(sharing, name, 600_000)
    redis = connect(redis_url, 30.0)
    assert isinstance(redis, Redis)
    few, many = [await cost_of_a_look(number, redis, f"{namespace}-{number}") for number in (FEW, MANY)]
    print(f"{FEW} pods: {few}; {MANY} pods: {many}")
    assert many.bytes < 1.1 * MANY / FEW * few.bytes
    assert many.calls < 1.1 * MANY / FEW * few.calls
    assert many.all_reports <= few.all_reports
    await redis.aclose()
