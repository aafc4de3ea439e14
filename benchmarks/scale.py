"""`make scale`: what a deployment costs Redis and the blobs when nothing is sent, at three sizes, from counts; and what its
first start asks of the hubs, with real pods (starting.py).

Each periodic call of a pod is made once by the real adapter on a real Valkey that is filled as at that size, and its
commands (with those of scripts) and bytes are taken from the server's own statistics. All pods make the same calls, so that
one call of each kind and the intervals of the code give the sum for an hour. What readings cost in addition is the same at
all sizes (core/sizing.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from rich.console import Console

from benchmarks.results import Section
from benchmarks.stage import running_valkey
from benchmarks.starting import starting
from dedup_service.adapters.redis.board import RedisPodBoard
from dedup_service.adapters.redis.calls import connect
from dedup_service.adapters.redis.leases import RedisLeases
from dedup_service.adapters.redis.ledger import RedisLedger
from dedup_service.adapters.redis.marked import Generations
from dedup_service.adapters.redis.markers import RedisMarkers
from dedup_service.adapters.redis.precedence import RedisPrecedence
from dedup_service.adapters.redis.timeline import RedisTimelineStore
from dedup_service.config.settings import Settings
from dedup_service.core.groups import Group
from dedup_service.core.leases import Lease, LeaseRecord
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.core.overview import periods
from dedup_service.core.pod_report import PodReport
from dedup_service.core.progress import Position
from dedup_service.observability.fleet import CACHE_SECONDS, Fleet
from dedup_service.observability.status import INTERVAL_SECONDS, OVERVIEW_EVERY
from dedup_service.service import PING_SECONDS
from sandbox.hub.log import now_ms
from wire.cancellation import keep_cancellations

HOUR = 3600.0
NAMESPACE = "scale"
MOST_PODS = 8
"""Real pods that start at once on this machine, whose cores they share with the hubs. Questions hardly grow with their
number, connections do (core/sizing.py)."""
COUNTERS: dict[Any, Any] = {f"f{n}": 1000 for n in range(2)} | {f"h1:{n}": 10 for n in range(60)} | {"r2": 1000, "d1": 1000}


@dataclass(frozen=True, slots=True)
class Size:
    name: str
    partitions: int
    outputs: int
    pods: int
    groups: int
    replicas: int
    """Of each group."""


SIZES = (Size("S", 4, 4, 2, 1, 3), Size("M", 32, 32, 8, 10, 3), Size("L", 200, 100, 50, 100, 10))


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call."""

    commands: float
    to_redis: float
    """Bytes."""
    from_redis: float


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    per_hour: float
    """Calls of the whole deployment."""
    cost: Cost


class Deployment:
    """One of its pods, and what all of them have written."""

    def __init__(self, size: Size, redis: Redis) -> None:
        self.size, self.redis = size, redis
        self.generations = Generations(NAMESPACE, 1)
        self.markers = RedisMarkers(redis, self.generations, namespace=NAMESPACE, rebuilds=False)
        self.partitions = [str(n) for n in range(size.partitions)]
        self.leases = RedisLeases(
            redis,
            namespace=NAMESPACE,
            scope="ns/hub",
            partition_ids=self.partitions,
            ttl_seconds=HOUR,
            monotonic=time.monotonic,
            generations=self.generations,
        )
        self.held: list[Lease] = []
        self.board = RedisPodBoard(redis, namespace=NAMESPACE)
        output = OutputPolicy([str(n) for n in range(size.outputs)], "source", "g")
        self.groups = [Group(f"group-{n}", 14_400_000, "drop", output) for n in range(size.groups)]
        self.ledger = RedisLedger(redis, namespace=NAMESPACE, shards=1)
        self.fleet = Fleet(self.ledger, self.board, RedisTimelineStore(redis, namespace=NAMESPACE), self.groups)
        self.precedence = RedisPrecedence(redis, reads="ns/hub/dedup", publishes=True, ttl_seconds=5.0, now_ms=now_ms)
        self.told = 0

    async def fill(self) -> None:
        await self.markers.look()
        each = -(-self.size.partitions // self.size.pods)
        for n in range(self.size.pods):
            for partition in self.partitions[n * each : (n + 1) * each]:
                lease = await self.leases.take(f"pod-{n}", partition)
                assert lease is not None
                sample = {str(output): 123_456_789 for output in range(self.size.outputs)}
                lease.record = LeaseRecord(Position(123_456_789, "123456789012", now_ms()), sample, 1, "0" * 16)
                if n == 0:
                    self.held.append(lease)
                else:
                    await self.leases.write(lease, lease.record)
            await self.board.tell(f"pod-{n}", 1, self.report(each), {})
        minutes, hours = periods(now_ms())
        for group in self.groups:
            pipeline = self.redis.pipeline(transaction=False)
            for kind, numbers in (("minute", minutes), ("hour", hours)):
                for number in numbers:
                    pipeline.hset(f"{NAMESPACE}{{0}}:{kind}:{group.name}:{number}", mapping=COUNTERS)
            for replica in range(self.size.replicas):
                pipeline.hset(f"{NAMESPACE}{{0}}replicas:{group.name}", f"edge-{replica}-of-{group.name}", replica)
            await pipeline.execute()

    def report(self, partitions: int) -> PodReport:
        figures = {f"{n}": (123_456_789, now_ms(), now_ms()) for n in range(partitions)}
        return PodReport("0.1.0", now_ms(), figures, oldest=dict.fromkeys(figures, 1000))

    async def tell(self) -> None:
        self.told += 1
        counters = {f"COPIES|edge-{n}": 100 for n in range(self.size.replicas)}
        await self.board.tell("pod-0", 1 + self.told, self.report(len(self.held)), counters)

    async def renew(self) -> None:
        """With a record of each that has moved."""
        await self.leases.renew("pod-0", self.held)

    async def overview(self) -> None:
        self.fleet._overview = None
        await self.fleet.overview()

    async def cost_of(self, call: Callable[[], Awaitable[object]]) -> Cost:
        await call()  # a server learns the scripts with their first call
        before, nothing = await self._statistics(), await self._statistics()
        await call()
        after = await self._statistics()
        own = [(c - b) - (b - a) for a, b, c in zip(before, nothing, after, strict=True)]
        return Cost(*own)

    async def _statistics(self) -> tuple[float, float, float]:
        stats = await self.redis.info("stats")
        return stats["total_commands_processed"], stats["total_net_input_bytes"], stats["total_net_output_bytes"]


async def counted(size: Size) -> list[Row]:
    """On a Valkey of its own."""
    with running_valkey() as server:
        redis = connect(server.url, 30.0)
        assert isinstance(redis, Redis)
        try:
            return await rows_of(size, redis)
        finally:
            await redis.aclose()


async def rows_of(size: Size, redis: Redis) -> list[Row]:
    """What all pods together do in an hour. Overview and roll call are made at most once a second, by whoever asks first;
    the first pod reads all reports for the timeline, too."""
    deployment = Deployment(size, redis)
    await deployment.fill()
    settings = Settings.model_fields
    rounds = HOUR / settings["lease_interval_seconds"].default * size.pods
    looks = HOUR / (INTERVAL_SECONDS * OVERVIEW_EVERY) * size.pods
    makes = min(HOUR / CACHE_SECONDS, looks)
    sample_seconds = settings["sample_interval_seconds"].default
    samples = HOUR / sample_seconds
    kinds: list[tuple[str, float, Callable[[], Awaitable[object]]]] = [
        ("renewals of leases", rounds, deployment.renew),
        ("who goes first, and whose turn it is to sample", rounds, deployment.precedence.must_wait),
        (
            "samples of the clean hub's end",
            samples,
            lambda: deployment.leases.save_sample({str(n): n for n in range(size.outputs)}, sample_seconds),
        ),
        ("pods' reports", HOUR / INTERVAL_SECONDS * size.pods, deployment.tell),
        ("readings of all reports", makes + looks / size.pods, deployment.board.pods),
        ("roll calls read", looks, deployment.fleet.roll_call),
        ("overviews made", makes, deployment.fleet._make),
        ("overviews read", looks, deployment.overview),
        ("pings", HOUR / PING_SECONDS * size.pods, lambda: redis.ping()),
    ]
    return [Row(what, per_hour, await deployment.cost_of(call)) for what, per_hour, call in kinds]


def blob_writes(size: Size) -> float:
    """At most, in an hour: of partitions that are never idle."""
    interval: float = Settings.model_fields["checkpoint_interval_seconds"].default
    return HOUR / interval * size.partitions


async def scale() -> list[Section]:
    starts = [(size.partitions, size.outputs, min(size.pods, MOST_PODS)) for size in SIZES]
    return [*[_section(size, await counted(size)) for size in SIZES], await starting(starts)]


def _section(size: Size, rows: list[Row]) -> Section:
    conditions = (
        f"{size.partitions} partitions, {size.outputs} of the clean hub, {size.pods} pods, {size.groups} groups of "
        f"{size.replicas} replicas; no readings. At most {blob_writes(size):,.0f} blob writes an hour."
    )
    section = Section(f"Size {size.name}", conditions, ["in an hour", "calls", "commands", "MB to Redis", "MB from Redis"])
    total = [0.0, 0.0, 0.0, 0.0]
    for row in rows:
        cost, n = row.cost, row.per_hour
        figures = [n, n * cost.commands, n * cost.to_redis / 1e6, n * cost.from_redis / 1e6]
        total = [a + b for a, b in zip(total, figures, strict=True)]
        section.rows.append([row.what, *figures])
    section.rows.append(["all", *total])
    return section


def main() -> None:
    keep_cancellations()
    console = Console(width=130)
    for section in asyncio.run(scale()):
        section.show(console)


if __name__ == "__main__":
    main()
