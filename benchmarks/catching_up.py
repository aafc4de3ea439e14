"""How long it takes to clear the backlog of an outage, and how long live readings wait meanwhile."""

from __future__ import annotations

import asyncio
import time

from benchmarks.baselines import loop
from benchmarks.events import Load, input_log
from benchmarks.latency import REPLICAS, latencies_ms, percentile, send
from benchmarks.results import Section, middle
from benchmarks.stage import Log, Server, running_hub, running_services, running_valkey, until_processed
from sandbox.hub.log import now_ms

OUTAGE_HOURS, READINGS_PER_SECOND, BATCH = 4, 25, 20
LIVE_EVENTS_PER_SECOND, LIVE_SECONDS = 300, 30.0


async def catch_up(log: Log, redis: Server) -> tuple[float, float, float]:
    """Seconds until the backlog is gone, and p50 and p99 latency in ms of the live readings meanwhile."""
    redis.clear()
    async with running_hub(REPLICAS) as hub, running_services(hub, redis.url) as running:
        started, since_ms = time.monotonic(), now_ms()
        waiting = hub.fill(log)
        live = asyncio.create_task(send(hub, LIVE_EVENTS_PER_SECOND, LIVE_SECONDS))
        await until_processed(running, waiting)
        gone, gone_ms = time.monotonic() - started, now_ms()
        await until_processed(running, waiting + await live)
        latencies = latencies_ms(hub, since_ms, gone_ms)
    return gone, percentile(latencies, 0.5), percentile(latencies, 0.99)


async def catching_up(rounds: int) -> Section:
    readings = OUTAGE_HOURS * 3600 * READINGS_PER_SECOND
    backlog = Load(readings, batch=BATCH, partitions=REPLICAS, first=10**9)
    section = Section(
        f"Catching up after an outage of {OUTAGE_HOURS} hours",
        f"{READINGS_PER_SECOND} readings/s from three replicas in batches of {BATCH}: {backlog.copies:,} copies wait; live "
        f"single readings ({LIVE_EVENTS_PER_SECOND} events/s) arrive behind them in the same partitions. Alternating with "
        "the bare loops, which drain the same backlog without live readings; medians.",
        ["", "value"],
    )
    log = input_log(backlog)
    ours: list[tuple[float, float, float]] = []
    loops: dict[str, list[float]] = {"receive": [], "forward": []}
    with running_valkey() as redis:
        for _ in range(rounds):
            ours.append(await catch_up(log, redis))
            for kind, took in loops.items():
                took.append((await loop(kind, log)).seconds)
    gone, p50, p99 = (middle(values) for values in zip(*ours, strict=True))
    receive, forward = (middle(loops[kind]) for kind in ("receive", "forward"))
    section.rows = [
        ["until the backlog is gone, s", gone],
        ["bare receive → send loop over the backlog, s", forward],
        ["... ÷ service", forward / gone],
        ["bare receive loop over the backlog, s", receive],
        ["... ÷ service", receive / gone],
        ["copies/s meanwhile", backlog.copies / gone],
        ["outage ÷ catching up", OUTAGE_HOURS * 3600 / gone],
        ["live readings meanwhile, p50 ms", p50],
        ["live readings meanwhile, p99 ms", p99],
    ]
    return section
