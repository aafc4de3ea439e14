"""`sandbox plant`: OPC UA servers whose machines emit readings, and a journal of what they emitted."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from sandbox.plant.machine_server import NAMESPACE_URI, MachineServer
from sandbox.plant.sources import MACHINES, NS_PER_SECOND, DropOuts, Reading, Schedule, machines
from sandbox.plant.stamping import Stamping

APPLICATION_URI = "urn:sandbox:plant"
TICK_SECONDS = 0.02
AWAY_SECONDS = 10.0
"""How long the first server is away when it is restarted."""


@dataclass(frozen=True, slots=True)
class PlantOptions:
    port: int = 4840
    journal: Path | None = None
    """File for the emitted readings, one JSON object per line; written before any subscriber sees the reading."""
    stamping: Stamping | None = None
    """None: stamped once for all subscribers."""
    wait_for_subscribers: int = 0
    """The machines start when this many clients have subscribed to every source."""
    machines: int = MACHINES
    seed: int | None = None
    host: str = "127.0.0.1"
    second_port: int | None = None
    """Of a second server of the same machines; None: there is one only."""
    drop_out_seconds: float = 0.0
    """From one burst of bad statuses of a machine to the next; 0: there are none."""


class Plant:
    def __init__(self, options: PlantOptions) -> None:
        self.options = options
        self.emitted = 0
        self.dropped_out: Counter[str] = Counter()
        """Of what was emitted, how often it was only that the machine does not answer, by source."""
        self._sources = machines(uuid.uuid4().hex[:8], options.machines)
        self._servers = [self._server(number) for number in range(len(self.endpoints))]
        self._is_away = False
        self._random = random.Random(options.seed)
        self._journal: TextIO | None = None
        self._stopped = asyncio.Event()

    @property
    def endpoint(self) -> str:
        return self.endpoints[0]

    @property
    def endpoints(self) -> list[str]:
        ports = (self.options.port, self.options.second_port)
        return [f"opc.tcp://{self.options.host}:{port}/plant" for port in ports if port is not None]

    def _server(self, number: int) -> MachineServer:
        uri = f"{APPLICATION_URI}:{number + 1}" if len(self.endpoints) > 1 else APPLICATION_URI
        return MachineServer(self.endpoints[number], uri, self._sources)

    async def start(self) -> None:
        for server in self._servers:
            await server.start(self.options.stamping, self._random)
        if self.options.journal is not None:
            self._journal = self.options.journal.open("a")

    async def run(self) -> None:
        """Emit until stopped. A reading is journaled first: one that no subscriber saw must still count as emitted."""
        await self._wait_for_subscribers()
        every_ns = round(self.options.drop_out_seconds * NS_PER_SECOND)
        drop_outs = DropOuts(every_ns, self.options.machines) if every_ns else None
        schedule = Schedule(self._sources, time.time_ns(), drop_outs)
        while not self._stopped.is_set():
            for reading in schedule.due(time.time_ns()):
                self._record(reading)
                for server in self._there:
                    await server.show(reading)
            if self._journal is not None:
                self._journal.flush()
            await asyncio.sleep(TICK_SECONDS)

    @property
    def _there(self) -> list[MachineServer]:
        return self._servers[1:] if self._is_away else self._servers

    async def _wait_for_subscribers(self) -> None:
        while self._subscribers() < self.options.wait_for_subscribers and not self._stopped.is_set():
            await asyncio.sleep(TICK_SECONDS)

    def _subscribers(self) -> int:
        return sum(server.subscribers for server in self._there)

    def _record(self, reading: Reading) -> None:
        self.emitted += 1
        if reading.status:
            self.dropped_out[reading.source] += 1
        if self._journal is not None:
            line = {
                "source": reading.source,
                "epoch": reading.epoch,
                "sequence": reading.sequence,
                "time_ns": reading.time_ns,
                "status": reading.status,
            }
            self._journal.write(json.dumps(line) + "\n")

    async def restart_first(self, away_seconds: float = AWAY_SECONDS) -> None:
        """The first server goes away, with all sessions and what it kept for them, and comes back. The machines go on."""
        if self._is_away:
            return
        self._is_away = True
        await self._servers[0].stop()
        await asyncio.sleep(away_seconds)
        again = self._server(0)
        await again.start(self.options.stamping, self._random)
        self._servers[0], self._is_away = again, False

    async def halt(self) -> None:
        """Stop the machines; subscribers still receive what was emitted."""
        self._stopped.set()

    async def stop(self) -> None:
        self._stopped.set()
        for server in self._there:
            await server.stop()
        if self._journal is not None:
            self._journal.close()

    def summary(self) -> dict[str, Any]:
        """What a gateway and the service must have had, for comparison with what they count."""
        return {"emitted": self.emitted, "dropped_out": self.dropped_out.total(), "by_source": dict(self.dropped_out)}

    def describe(self) -> dict[str, Any]:
        pair = {"endpoints": self.endpoints, "server_uri": APPLICATION_URI} if len(self.endpoints) > 1 else {}
        return {
            "ready": True,
            "endpoint": self.endpoint,
            **pair,
            "namespace_uri": NAMESPACE_URI,
            "sources": len(self._sources),
        }


async def run(options: PlantOptions, stop: asyncio.Event, linger_seconds: float) -> None:
    """Run until `stop`; then halt the machines, say what they have emitted, and serve for `linger_seconds`, or until `stop`
    once more, so that subscribers receive the rest."""
    plant = Plant(options)
    await plant.start()
    restarts: set[asyncio.Task[None]] = set()
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR1, lambda: restarts.add(asyncio.create_task(plant.restart_first()))
    )
    print(json.dumps(plant.describe()), flush=True)
    emitting = asyncio.create_task(plant.run())
    try:
        await stop.wait()
        stop.clear()
        await plant.halt()
        await emitting
        print(json.dumps(plant.summary()), flush=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), linger_seconds)
    finally:
        for task in restarts:
            task.cancel()
        ended = await asyncio.gather(*restarts, return_exceptions=True)
        await plant.stop()
    for error in ended:
        if isinstance(error, Exception):
            raise error
