"""The edge sender under a gateway's load: CPU and memory at 1,000 batched readings a second, OPC UA and synthetic."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

from benchmarks.results import Section, at_least, at_most, middle
from sandbox.demo.demo import free_mqtt_host
from sandbox.demo.plan import edge_sources
from sandbox.peers.azurite import azurite
from sandbox.peers.processes import Child, free_port

DEVICE = "edge-1"
MACHINES = 60
"""Machines of the plant: 1,002 readings a second from 484 variables."""
SYNTHETIC = {"name": "s", "kind": "synthetic", "count": 100, "interval_seconds": 0.1, "identity": "sequence"}
SETTLE_SECONDS, SECONDS = 12.0, 15.0
START_SECONDS = 60.0


def without_aiohttp(folder: Path) -> dict[str, str]:
    """Hide aiohttp: the edge's image does not have it, but it is installed here, and libraries would load it."""
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['aiohttp'] = None\n")
    return {"PYTHONPATH": str(folder)}


async def run_edge(hub: dict[str, Any], storage: str, sources: str, ha: str, folder: Path) -> list[float]:
    """Return [readings/s, share of a core, CPU µs per reading, RSS in MB]."""
    port = free_port()
    environment = {
        **without_aiohttp(folder),
        "EDGE_SOURCES": sources,
        "EDGE_REPLICA": DEVICE,
        "EDGE_UPLINK": "iot",
        "EDGE_CONNECTION_STRING": hub["devices"][DEVICE],
        "EDGE_CA_FILE": hub["ca_file"],
        "EDGE_SPOOL_PATH": str(folder / "spool.db"),
        "EDGE_HTTP_PORT": str(port),
        "EDGE_HA": ha,
        "EDGE_WITNESS": f"{storage};ContainerName=witness",
        "EDGE_IDENTITY_CHECK_SECONDS": "0",
    }
    edge = await Child.start("edge", ["edge_sender", "run"], environment, folder)
    try:
        process = psutil.Process(edge.pid)
        await asyncio.sleep(SETTLE_SECONDS)
        before, started, sent = cpu_seconds(process), time.monotonic(), await asyncio.to_thread(_sent, port)
        await asyncio.sleep(SECONDS)
        used, seconds = cpu_seconds(process) - before, time.monotonic() - started
        readings = await asyncio.to_thread(_sent, port) - sent
        return [readings / seconds, used / seconds, used / readings * 1e6, process.memory_info().rss / 1e6]
    finally:
        await edge.stop()


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _sent(port: int) -> int:
    with urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=10) as response:
        return int(json.load(response)["sent"]["readings"])


async def edge(rounds: int) -> Section:
    section = Section(
        "The edge sender at 1,000 readings a second",
        f"Batches of 20, 4 KB or 1 s, MQTT over TLS, spool on disk; OPC UA: {MACHINES * 8 + 4} variables. "
        f"Python {sys.version_info.major}.{sys.version_info.minor}, without the identity check.",
        ["", "readings/s", "share of a core", "CPU µs/reading", "RSS MB"],
    )
    async with AsyncExitStack() as stack:
        storage = stack.enter_context(azurite())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-edge-")))
        hub_child = await Child.start(
            "hub", ["sandbox", "hub", "--host", free_mqtt_host(), "--amqp-port", "0", "--device", DEVICE], {}, folder
        )
        plant_arguments = ["sandbox", "plant", "--port", str(free_port()), "--machines", str(MACHINES)]
        plant_child = await Child.start("plant", plant_arguments, {}, folder)
        stack.push_async_callback(hub_child.kill)
        stack.push_async_callback(plant_child.kill)
        hub, plant = await hub_child.line(START_SECONDS), await plant_child.line(START_SECONDS)
        configurations = {
            "synthetic": (json.dumps({"sources": [SYNTHETIC]}), "duplicate"),
            "OPC UA": (edge_sources(plant), "duplicate"),
            "OPC UA, active-passive": (edge_sources(plant), "active-passive"),
        }
        for name, (sources, ha) in configurations.items():
            took = [await run_edge(hub, storage, sources, ha, folder) for _ in range(rounds)]
            section.rows.append([name, *(middle(values) for values in zip(*took, strict=True))])
    rates, shares, sizes = ([float(row[column] or 0) for row in section.rows] for column in (1, 2, 4))
    section.targets += [
        at_most("edge: share of a core at 1,000 readings/s", 0.2, max(shares)),
        at_most("edge: RSS, MB", 100.0, max(sizes)),
        at_least("edge: readings/s sent", 980.0, min(rates)),
    ]
    return section
