"""What it takes to run a peer of the service: its process with its options, and a NATS server."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psutil

from benchmarks.jetstream import Nats
from benchmarks.peer_process import VARIABLE
from benchmarks.stage import BATCH_SIZE, DEADLINE_SECONDS, NAMESPACE, POLL_SECONDS, PREFETCH, Hub, Server, cpu_of
from sandbox.hub.log import now_ms
from sandbox.peers.processes import free_port


class NatsServer:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._usage = psutil.Process(process.pid)

    def cpu(self) -> float:
        return cpu_of(self._usage)


@asynccontextmanager
async def running_nats(program: str) -> AsyncIterator[NatsServer]:
    """A JetStream that stores in files, with an empty stream."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            program, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", folder, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await _made_stream(port):
                    await asyncio.sleep(POLL_SECONDS)
            yield NatsServer(process, port)
        finally:
            process.kill()
            await process.wait()


async def _made_stream(port: int) -> bool:
    try:
        nats = await Nats.connect(port)
    except OSError:
        return False
    await nats.make_stream()
    await nats.close()
    return True


@contextmanager
def options(hub: Hub, redis: Server, nats: NatsServer | None = None, *, by_key: bool = False) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        chosen = {
            "input": hub.stand_in.connection_string("telemetry"),
            "output": hub.stand_in.connection_string("clean"),
            "consumer_group": "dedup",
            "redis": redis.url,
            "prefix": f"{NAMESPACE}{now_ms()}:",
            "nats_port": nats.port if nats else 0,
            "folder": folder,
            "by_key": by_key,
            "prefetch": PREFETCH,
            "batch_size": BATCH_SIZE,
        }
        yield {**os.environ, VARIABLE: json.dumps(chosen)}
