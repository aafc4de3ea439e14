"""What a claim costs in the client's CPU, and in CPU and memory of Redis."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from redis.asyncio import Redis

from benchmarks.events import SOURCES
from benchmarks.results import Section, at_most, middle
from benchmarks.stage import Server, running_valkey
from dedup_service.adapters.redis.calls import connect
from dedup_service.adapters.redis.claims import RedisClaims
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import key_digests
from dedup_service.core.events import Origin, Reading
from sandbox.peers.processes import free_port

CALLS, KEYS, REPLICAS = 40, 1000, 3
MANY_SOURCES = 5000
"""More than the keys of one call, so that no source occurs twice in a call."""
WINDOW_MS, RETENTION_MS = 14_400_000, 86_400_000


def requests(replica: int, call: int, sources: int, at_ms: int, batch: int = 1) -> list[ClaimRequest]:
    """The requests that the service makes from one batch of events with `batch` readings each."""
    numbers = range(call * KEYS, (call + 1) * KEYS)
    return [_request(replica, numbers[start : start + batch], sources, at_ms + replica) for start in range(0, KEYS, batch)]


def _request(replica: int, numbers: range, sources: int, at_ms: int) -> ClaimRequest:
    readings = [
        Reading(
            index,
            f"opc.tcp://plant/line/machine-{number % sources}/temperature",
            f"{number:032x}",
            [],
            number.to_bytes(8, "big"),
            None,
            str(number // sources),
            "1",
        )
        for index, number in enumerate(numbers)
    ]
    event, keys = Origin(1, replica, numbers[0], 0), key_digests("default", readings)
    return ClaimRequest("default", replica, event, at_ms, RETENTION_MS, WINDOW_MS, readings, keys, frozenset())


BASELINE, ONE_SHARD = "pipelined SET NX alone", "1 shard"
UNCOUNTED = f"{ONE_SHARD}, without accounting"

Measure = Callable[[Server], Awaitable[tuple[float, ...]]]


async def claims(rounds: int) -> Section:
    section = Section(
        f"Claims, {KEYS:,} keys per call, three copies of each reading; single readings, {SOURCES} sources unless stated",
        "Per key; client: the calling process, without making the requests; server: Redis. A third of the keys are new. "
        "Memory: claims and accounts together, after confirming. Alternating, medians; ratios to the baseline on the same "
        "server, which can neither distinguish its own repeated call from a duplicate nor count.",
        [
            "",
            "client µs",
            "÷ baseline",
            "server µs",
            "÷ baseline",
            "confirm, client µs",
            "confirm, server µs",
            "bytes per claim",
        ],
    )
    ways: dict[str, Measure] = {
        BASELINE: _baseline,
        UNCOUNTED: partial(_measure, accounting=False),
        ONE_SHARD: _measure,
        "1 shard, events of 20 readings": partial(_measure, batch=20),
        f"1 shard, {MANY_SOURCES:,} sources": partial(_measure, sources=MANY_SOURCES),
        "16 shards": partial(_measure, shards=16),
    }
    with running_valkey() as valkey:
        medians = await _add_rows(section, f"Valkey {valkey.version}", valkey, ways, rounds)
    ours, uncounted, baseline = medians[ONE_SHARD], medians[UNCOUNTED], medians[BASELINE]
    section.targets += [
        at_most("client CPU µs per claim, with accounting", 2.5, ours[0]),
        at_most("bytes per claim on Valkey", 150, ours[4]),
        at_most("Redis CPU of a claim without accounting ÷ that of SET NX", 3, uncounted[1] / baseline[1]),
    ]
    if redis := shutil.which("redis-server"):
        with running_redis(redis) as server:
            few = {name: ways[name] for name in (BASELINE, ONE_SHARD)}
            await _add_rows(section, f"Redis {server.version}", server, few, rounds)
    else:
        section.conditions += " Redis itself was not measured: redis-server is not installed."
    return section


async def _add_rows(
    section: Section, name: str, server: Server, ways: dict[str, Measure], rounds: int
) -> dict[str, list[float]]:
    """Add a row for each way; return the medians."""
    figures: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, measure in ways.items():
            figures[way].append(await measure(server))
    medians = {way: [middle(values) for values in zip(*rows, strict=True)] for way, rows in figures.items()}
    client, server_us = medians[BASELINE][:2]
    for way, (own, of_server, *rest) in medians.items():
        cells = rest if len(rest) > 1 else [None, None, *rest]
        section.rows.append([f"{name}, {way}", own, own / client, of_server, of_server / server_us, *cells])
    return medians


async def _baseline(server: Server) -> tuple[float, ...]:
    """What a deduplication without this protocol would do: SET NX with a TTL for each copy, 1,000 per pipeline."""
    server.clear()
    empty, at_ms = server.used_bytes(), int(time.time() * 1000)
    keys = [
        [b"bench{0}" + request.keys[0] for request in requests(replica, call, SOURCES, at_ms)]
        for call in range(CALLS)
        for replica in range(REPLICAS)
    ]
    client = connect(server.url, 10.0)
    assert isinstance(client, Redis)
    before = time.process_time(), server.cpu()
    for batch in keys:
        pipeline = client.pipeline(transaction=False)
        for key in batch:
            pipeline.set(key, b"1", nx=True, px=WINDOW_MS)
        await pipeline.execute()
    after = time.process_time(), server.cpu()
    used = server.used_bytes() - empty
    await client.aclose()
    copies = CALLS * KEYS * REPLICAS
    return (*((after[i] - before[i]) / copies * 1e6 for i in range(2)), used / (CALLS * KEYS))


async def _measure(
    server: Server, *, shards: int = 1, sources: int = SOURCES, batch: int = 1, accounting: bool = True
) -> tuple[float, ...]:
    server.clear()
    empty, at_ms = server.used_bytes(), int(time.time() * 1000)
    store = RedisClaims(connect(server.url, 10.0), namespace="bench", shards=shards, accounting=accounting)
    calls = [requests(replica, call, sources, at_ms, batch) for call in range(CALLS) for replica in range(REPLICAS)]
    before = time.process_time(), server.cpu()
    for asked in calls:
        await store.claim(asked, (1,))
    claimed = time.process_time(), server.cpu()
    for asked in calls[::REPLICAS]:
        await store.confirm(asked, WINDOW_MS)
    confirmed = time.process_time(), server.cpu()
    used = server.used_bytes() - empty
    await store.close()
    copies, keys = CALLS * KEYS * REPLICAS, CALLS * KEYS
    return (
        *((claimed[i] - before[i]) / copies * 1e6 for i in range(2)),
        *((confirmed[i] - claimed[i]) / keys * 1e6 for i in range(2)),
        used / keys,
    )


@contextmanager
def running_redis(program: str) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        yield Server.once_it_answers(f"redis://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
