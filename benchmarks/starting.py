"""A first start, with real pods against the stand-in: how long until what waits in every partition is in the clean stream,
and what that asks of the hubs. Questions and connections are counted by the stand-in."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.events import Load, input_log
from benchmarks.results import Section
from benchmarks.stage import DEADLINE_SECONDS, POLL_SECONDS, Hub, environment, running_valkey, start_service
from sandbox.hub.stand_in import HubOptions, StandIn

HOUR = 3600.0
IDLE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Start:
    seconds: float
    """From the first process on."""
    questions: int
    opened: int
    """Connections, those of questions among them."""
    connections: int
    """That stay open."""
    pod_mb: float
    """Memory of a pod (RSS), the mean."""
    idle_questions_per_hour: float
    """Afterwards, while nothing is sent."""
    idle_bytes_per_hour: float
    """To and from the hubs: those questions, and heartbeats."""


async def first_start(partitions: int, outputs: int, pods: int, idle_seconds: float = 0.0) -> Start:
    """`idle_seconds`: for how long the pods are watched afterwards."""
    hubs = {"telemetry": partitions, "clean": outputs, "dead-letter": 1}
    stand_in = StandIn(HubOptions(amqp_port=0, mqtt_port=None, hubs=hubs))
    await stand_in.start()
    hub, services = Hub(stand_in), []
    waiting = hub.fill(input_log(Load(readings=10 * partitions, replicas=1, partitions=partitions)))
    try:
        with running_valkey() as redis, tempfile.TemporaryDirectory() as folder:
            began, variables = time.monotonic(), environment(hub, redis.url, Path(folder), {})
            services = await asyncio.gather(*(start_service(variables) for _ in range(pods)))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while hub.published() < waiting:
                    await asyncio.sleep(POLL_SECONDS)
            took, traffic = time.monotonic() - began, stand_in.broker.traffic
            asked, opened = traffic.asked, traffic.connections
            memory = sum(service.usage.memory_info().rss for service in services) / pods / 1e6
            await asyncio.sleep(idle_seconds / 2)  # until the last are read, and silent
            before, carried, at = traffic.asked, traffic.bytes_in + traffic.bytes_out, time.monotonic()
            await asyncio.sleep(idle_seconds / 2)
            hours = max(time.monotonic() - at, 1.0) / HOUR
            questions, size = traffic.asked - before, traffic.bytes_in + traffic.bytes_out - carried
            kept = stand_in.broker.connections
            return Start(took, asked, opened, kept, memory, questions / hours, size / hours)
    finally:
        await asyncio.gather(*(service.kill() for service in services))
        await stand_in.stop()


async def starting(sizes: list[tuple[int, int, int]]) -> Section:
    """Of (partitions, partitions of the clean hub, pods)."""
    conditions = "Ten readings wait in each partition; pods, hubs and Redis share this machine."
    columns = ["partitions, of the clean hub, pods", "s", "questions", "connections", "... that stay", "MB of a pod"]
    section = Section("First start", conditions, [*columns, "idle: questions an hour", "MB an hour"])
    for partitions, outputs, pods in sizes:
        start = await first_start(partitions, outputs, pods, IDLE_SECONDS)
        figures = [start.seconds, start.questions, start.opened, start.connections, start.pod_mb]
        figures += [start.idle_questions_per_hour, start.idle_bytes_per_hour / 1e6]
        section.rows.append([f"{partitions}, {outputs}, {pods}", *figures])
    return section
