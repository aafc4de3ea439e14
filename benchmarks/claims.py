"""What a claim costs the client, Redis and Redis' memory."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.events import SOURCES
from benchmarks.results import Section, at_most, middle
from benchmarks.stage import Server, running_valkey
from dedup_service.adapters.redis_calls import connect
from dedup_service.adapters.redis_claims import RedisClaims
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import key_digests
from dedup_service.core.events import Origin, Reading
from sandbox.processes import free_port

CALLS, KEYS, REPLICAS = 40, 1000, 3
MANY_SOURCES = 5000
"""More than one call has keys: no source comes twice in it."""
WINDOW_MS, RETENTION_MS = 14_400_000, 86_400_000


def requests(replica: int, call: int, sources: int, at_ms: int) -> list[ClaimRequest]:
    """As the service makes them of one batch of single readings."""
    return [_request(replica, number, sources, at_ms) for number in range(call * KEYS, (call + 1) * KEYS)]


def _request(replica: int, number: int, sources: int, at_ms: int) -> ClaimRequest:
    source = f"opc.tcp://plant/line/machine-{number % sources}/temperature"
    content = number.to_bytes(8, "big")
    reading = Reading(0, source, f"{number:032x}", [], content, None, str(number // sources), "1")
    keys, event = key_digests("default", [reading]), Origin(1, replica, number, 0)
    return ClaimRequest("default", replica, event, at_ms + replica, RETENTION_MS, [reading], keys, frozenset())


async def claims(rounds: int) -> Section:
    section = Section(
        f"Claims, {KEYS:,} keys a call, three copies of each reading, {SOURCES} sources unless said",
        "Per key; client: the process that calls, without making the requests; server: Redis. A third of the keys is new. "
        "Memory: of claims and accounts together, after confirming.",
        ["", "client µs", "server µs", "confirm, client µs", "confirm, server µs", "bytes a claim"],
    )
    with running_valkey() as valkey:
        for name, shards, sources, accounting in (
            ("1 shard, without accounting", 1, SOURCES, False),
            ("1 shard", 1, SOURCES, True),
            (f"1 shard, {MANY_SOURCES:,} sources", 1, MANY_SOURCES, True),
            ("16 shards", 16, SOURCES, True),
        ):
            found = [await _measure(valkey, shards, sources, accounting) for _ in range(rounds)]
            row = [middle(values) for values in zip(*found, strict=True)]
            section.rows.append([f"Valkey, {name}", *row])
            if name == "1 shard":
                section.targets += [
                    at_most("client CPU µs per claim, with accounting", 2.5, row[0]),
                    at_most("bytes per claim on Valkey", 150, row[4]),
                ]
    if redis := shutil.which("redis-server"):
        with running_redis(redis) as server:
            found = [await _measure(server, 1, SOURCES, True) for _ in range(rounds)]
            section.rows.append(
                [f"Redis {server.version}, 1 shard", *(middle(values) for values in zip(*found, strict=True))]
            )
    else:
        section.conditions += " Redis itself is left out: redis-server is not installed."
    return section


async def _measure(server: Server, shards: int, sources: int, accounting: bool) -> tuple[float, ...]:
    server.clear()
    empty, at_ms = server.used_bytes(), int(time.time() * 1000)
    store = RedisClaims(connect(server.url, 10.0), namespace="bench", shards=shards, accounting=accounting)
    batches = [requests(replica, call, sources, at_ms) for call in range(CALLS) for replica in range(REPLICAS)]
    before = time.process_time(), server.cpu()
    for batch in batches:
        await store.claim(batch, (1,))
    claimed = time.process_time(), server.cpu()
    for batch in batches[::REPLICAS]:
        await store.confirm(batch, WINDOW_MS)
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
