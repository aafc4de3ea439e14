"""After an outage: how long until the backlog is gone, and what live readings wait meanwhile."""

from __future__ import annotations

import asyncio
import time

from benchmarks.events import Load, input_log
from benchmarks.latency import REPLICAS, latencies_ms, percentile, send
from benchmarks.results import Section
from benchmarks.stage import running_hub, running_services, running_valkey, until_processed
from sandbox.hub.log import now_ms

OUTAGE_HOURS, READINGS_PER_SECOND, BATCH = 4, 25, 20
LIVE_EVENTS_PER_SECOND, LIVE_SECONDS = 300, 30.0


async def catching_up(_: int) -> Section:
    readings = OUTAGE_HOURS * 3600 * READINGS_PER_SECOND
    backlog = Load(readings, batch=BATCH, partitions=REPLICAS, first=10**9)
    section = Section(
        f"Catching up after an outage of {OUTAGE_HOURS} hours",
        f"{READINGS_PER_SECOND} readings/s from three replicas in batches of {BATCH}: {backlog.copies:,} copies wait; live "
        f"single readings ({LIVE_EVENTS_PER_SECOND} events/s) come in behind them in the same partitions.",
        ["", "value"],
    )
    log = input_log(backlog)
    with running_valkey() as redis:
        async with running_hub(REPLICAS) as hub, running_services(hub, redis.url) as running:
            started, since_ms = time.monotonic(), now_ms()
            waiting = hub.fill(log)
            live = asyncio.create_task(send(hub, LIVE_EVENTS_PER_SECOND, LIVE_SECONDS))
            await until_processed(running, waiting)
            gone, gone_ms = time.monotonic() - started, now_ms()
            await until_processed(running, waiting + await live)
            found = latencies_ms(hub, since_ms, gone_ms)
    section.rows = [
        ["until the backlog is gone, s", gone],
        ["copies/s meanwhile", backlog.copies / gone],
        ["outage : catching up", OUTAGE_HOURS * 3600 / gone],
        ["live readings meanwhile, p50 ms", percentile(found, 0.5)],
        ["live readings meanwhile, p99 ms", percentile(found, 0.99)],
    ]
    return section
