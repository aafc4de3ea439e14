"""Runs the baselines (benchmarks/loops.py) as processes alongside the hub."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.loops import READY
from benchmarks.rounds import Took
from benchmarks.stage import BATCH_SIZE, DEADLINE_SECONDS, PREFETCH, Hub, Log, running_hub


class LoopProcess:
    def __init__(self, output: asyncio.StreamReader, orders: asyncio.StreamWriter) -> None:
        self._output = output
        self._orders = orders

    async def connected(self) -> None:
        assert (await self._output.readline()).decode().strip() == READY

    def begin(self) -> None:
        self._orders.write(b"\n")

    async def took(self) -> Took:
        """Measured from the first event received to the last."""
        answer = json.loads(await asyncio.wait_for(self._output.readline(), DEADLINE_SECONDS))
        return Took(answer["events"], answer["seconds"], answer["cpu"])


@asynccontextmanager
async def running_process(command: list[str], variables: dict[str, str]) -> AsyncIterator[LoopProcess]:
    """Run a module that says when it is connected. It may be killed meanwhile."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, env=variables, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    running = LoopProcess(process.stdout, process.stdin)
    try:
        await running.connected()
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def running_loop(kind: str, hub: Hub, events: int, *, stamped: bool = False) -> AsyncIterator[LoopProcess]:
    """Run a connected baseline that starts at `begin` and ends after `events` events.

    With `stamped`, each event that it sends names its origin, as a clean event does.
    """
    options = {
        "input": hub.stand_in.connection_string("telemetry"),
        "output": hub.stand_in.connection_string("clean"),
        "consumer_group": "dedup",
        "events": events,
        "prefetch": PREFETCH,
        "batch_size": BATCH_SIZE,
        "stamped": stamped,
    }
    variables = {**os.environ, "BENCH_LOOP": json.dumps(options)}
    async with running_process(["benchmarks.loops", kind], variables) as process:
        yield process


async def loop(kind: str, log: Log) -> Took:
    """Measure a baseline from a full hub to its last event."""
    async with running_hub(len(log)) as hub, running_loop(kind, hub, sum(map(len, log.values()))) as process:
        hub.fill(log)
        process.begin()
        return await process.took()
